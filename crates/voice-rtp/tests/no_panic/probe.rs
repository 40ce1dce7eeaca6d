//! Every function of the crate that reads or writes, as a program of its own for `no_panic.rs`.
//!
//! A new function needs one line here. Names that begin with `control_` must be found to panic.
#![no_std]
// `#[no_mangle]` keeps functions that nothing calls.
#![allow(improper_ctypes_definitions)]

use core::net::IpAddr;
use core::ops::Range;
use core::time::Duration;

use voice_rtp::discovery::{DISCOVERY_LEN, Request, RequestError, Response, ResponseError};
use voice_rtp::extension::{
    AbsoluteSendTime, AudioExtension, AudioLevel, Element, ElementError, ElementWriter, Elements, Form, PlayoutDelay,
    SpeakerFlags, Stop, TransmissionOffset, VideoOrientation,
};
use voice_rtp::rtcp::{
    self, CompoundWriter, IntraRequest, Item, NackPair, NtpTimestamp, ReportBlock, SenderInfo, SliceLoss,
};
use voice_rtp::{
    Csrcs, Extension, Jitter, Kind, Layout, Packet, ParseError, Ping, Reception, RtpHeader, Sequence, SequenceExtender,
    Ssrc, Timestamp, TimestampExtender, Verdict, WriteError, classify, unencrypted_len,
};

macro_rules! probes {
    ($($name:ident $(<$life:lifetime>)? ($($arg:ident: $type:ty),*) -> $out:ty { $body:expr })*) => {
        $(#[no_mangle] pub fn $name $(<$life>)? ($($arg: $type),*) -> $out { $body })*
    };
}

probes! {
    probe_classify(bytes: &[u8]) -> Kind { classify(bytes) }
    probe_unencrypted_len(bytes: &[u8]) -> Result<usize, ParseError> { unencrypted_len(bytes) }

    probe_header_parse(bytes: &[u8]) -> Result<RtpHeader, ParseError> { RtpHeader::parse(bytes) }
    probe_header_write(header: &RtpHeader, out: &mut [u8; 12]) -> () { header.write(out) }
    probe_header_write_with_audio(header: &RtpHeader, audio: AudioExtension, out: &mut [u8; 20]) -> () { header.write_with_audio(audio, out) }

    probe_packet_parse(bytes: &[u8]) -> Result<Packet<'_>, ParseError> { Packet::parse(bytes) }
    probe_packet_as_bytes<'a>(packet: &Packet<'a>) -> &'a [u8] { packet.as_bytes() }
    probe_packet_header(packet: &Packet<'_>) -> RtpHeader { packet.header() }
    probe_packet_csrcs<'a>(packet: &Packet<'a>) -> Csrcs<'a> { packet.csrcs() }
    probe_csrcs_next(csrcs: &mut Csrcs<'_>) -> Option<Ssrc> { csrcs.next() }
    probe_csrcs_len(csrcs: &Csrcs<'_>) -> usize { csrcs.len() }
    probe_packet_extension<'a>(packet: &Packet<'a>) -> Option<Extension<'a>> { packet.extension() }
    probe_packet_extension_range(packet: &Packet<'_>) -> Option<Range<usize>> { packet.extension_range() }
    probe_packet_payload<'a>(packet: &Packet<'a>) -> &'a [u8] { packet.payload() }
    probe_packet_payload_range(packet: &Packet<'_>) -> Range<usize> { packet.payload_range() }
    probe_packet_padding_len(packet: &Packet<'_>) -> usize { packet.padding_len() }
    probe_layout_new(header: RtpHeader) -> Layout<'static> { Layout::new(header) }
    probe_layout_header_len(layout: &Layout<'_>) -> Result<usize, WriteError> { layout.header_len() }
    probe_layout_write(layout: &Layout<'_>, payload: &[u8], out: &mut [u8]) -> Result<usize, WriteError> { layout.write(payload, out) }
    probe_layout_write_around(layout: &Layout<'_>, len: usize, out: &mut [u8]) -> Result<Range<usize>, WriteError> { layout.write_around(len, out) }

    probe_extension_new(profile: u16, body: &[u8]) -> Extension<'_> { Extension::new(profile, body) }
    probe_extension_profile(extension: &Extension<'_>) -> u16 { extension.profile() }
    probe_extension_body<'a>(extension: &Extension<'a>) -> &'a [u8] { extension.body() }
    probe_extension_form(extension: &Extension<'_>) -> Option<Form> { extension.form() }
    probe_extension_elements<'a>(extension: &Extension<'a>) -> Elements<'a> { extension.elements() }
    probe_extension_element<'a>(extension: &Extension<'a>, id: u8) -> Option<&'a [u8]> { extension.element(id) }
    probe_extension_audio_level(extension: &Extension<'_>) -> Option<AudioLevel> { extension.audio_level() }
    probe_extension_transmission_offset(extension: &Extension<'_>) -> Option<TransmissionOffset> { extension.transmission_offset() }
    probe_extension_absolute_send_time(extension: &Extension<'_>) -> Option<AbsoluteSendTime> { extension.absolute_send_time() }
    probe_extension_video_orientation(extension: &Extension<'_>) -> Option<VideoOrientation> { extension.video_orientation() }
    probe_extension_transport_sequence(extension: &Extension<'_>) -> Option<Sequence> { extension.transport_sequence() }
    probe_extension_playout_delay(extension: &Extension<'_>) -> Option<PlayoutDelay> { extension.playout_delay() }
    probe_extension_speaker_flags(extension: &Extension<'_>) -> Option<SpeakerFlags> { extension.speaker_flags() }
    probe_form_from_profile(profile: u16) -> Option<Form> { Form::from_profile(profile) }
    probe_elements_new(form: Form, body: &[u8]) -> Elements<'_> { Elements::new(form, body) }
    probe_elements_next<'a>(elements: &mut Elements<'a>) -> Option<Element<'a>> { elements.next() }
    probe_elements_stop(elements: &Elements<'_>) -> Option<Stop> { elements.stop() }
    probe_element_writer_new(form: Form, body: &mut [u8]) -> ElementWriter<'_> { ElementWriter::new(form, body) }
    probe_element_writer_push(writer: &mut ElementWriter<'_>, id: u8, data: &[u8]) -> Result<(), ElementError> { writer.push(id, data) }
    probe_element_writer_finish(writer: ElementWriter<'_>) -> Extension<'_> { writer.finish() }
    probe_audio_extension(level: u8, voice: bool, gateway: u8) -> [u8; 8] { AudioExtension { level: AudioLevel::new(voice, level), speaker: SpeakerFlags::from_gateway(gateway) }.to_bytes() }
    probe_audio_level(byte: u8) -> (bool, u8, u8) { { let level = AudioLevel::from_byte(byte); (level.voice_activity(), level.minus_dbov(), level.to_byte()) } }
    probe_speaker_flags(byte: u8) -> (bool, bool, bool, u8, u8) { { let flags = SpeakerFlags::from_byte(byte); (flags.priority(), flags.voice(), flags.soundshare(), flags.to_byte(), SpeakerFlags::to_gateway(Some(flags))) } }
    probe_absolute_send_time(bytes: [u8; 3], units: u32) -> (u32, Duration, i32) { { let time = AbsoluteSendTime::from_bytes(bytes); (time.get(), time.to_duration(), time.distance(AbsoluteSendTime::new(units))) } }
    probe_absolute_send_time_from(at: Duration) -> [u8; 3] { AbsoluteSendTime::from_duration(at).to_bytes() }
    probe_transmission_offset(bytes: [u8; 3], ticks: i32) -> (i32, [u8; 3]) { (TransmissionOffset::from_bytes(bytes).ticks(), TransmissionOffset::new(ticks).to_bytes()) }
    probe_playout_delay(bytes: [u8; 3], min: u16, max: u16) -> (Duration, Duration, [u8; 3]) { { let delay = PlayoutDelay::from_bytes(bytes); (delay.min(), delay.max(), PlayoutDelay::new(min, max).to_bytes()) } }
    probe_video_orientation(byte: u8, turns: u8) -> (bool, bool, u16, u8) { { let read = VideoOrientation::from_byte(byte); (read.back_camera(), read.flipped(), read.clockwise_degrees(), VideoOrientation::new(read.flipped(), read.back_camera(), turns).to_byte()) } }

    probe_sequence(a: Sequence, b: Sequence, packets: u16) -> (Sequence, i16) { (a.wrapping_add(packets), a.distance(b)) }
    probe_timestamp(a: Timestamp, b: Timestamp, ticks: u32) -> (Timestamp, i32) { (a.wrapping_add(ticks), a.distance(b)) }
    probe_timestamp_from_duration(elapsed: Duration, hz: u32) -> Timestamp { Timestamp::from_duration(elapsed, hz) }
    probe_sequence_extender_extend(extender: &mut SequenceExtender, sequence: Sequence) -> u64 { extender.extend(sequence) }
    probe_sequence_extender_peek(extender: &SequenceExtender, sequence: Sequence) -> (u64, Option<u64>) { (extender.peek(sequence), extender.highest()) }
    probe_sequence_extender_reset(extender: &mut SequenceExtender) -> () { extender.reset() }
    probe_timestamp_extender_extend(extender: &mut TimestampExtender, timestamp: Timestamp) -> u64 { extender.extend(timestamp) }
    probe_timestamp_extender_peek(extender: &TimestampExtender, timestamp: Timestamp) -> (u64, Option<u64>) { (extender.peek(timestamp), extender.highest()) }
    probe_timestamp_extender_reset(extender: &mut TimestampExtender) -> () { extender.reset() }
    probe_jitter_update(jitter: &mut Jitter, arrival: Timestamp, timestamp: Timestamp) -> u32 { { jitter.update(arrival, timestamp); jitter.ticks() } }
    probe_jitter_restart(jitter: &mut Jitter) -> () { jitter.restart() }
    probe_reception_new(ssrc: Ssrc, packets: u8) -> (Reception, Reception) { (Reception::new(ssrc), Reception::with_probation(ssrc, packets)) }
    probe_reception_receive(reception: &mut Reception, sequence: Sequence, timestamp: Timestamp, arrival: Timestamp) -> Verdict { reception.receive(sequence, timestamp, arrival) }
    probe_reception_report_block(reception: &mut Reception) -> ReportBlock { reception.report_block() }
    probe_reception_counts(reception: &Reception) -> (Ssrc, bool, u64, u64, i32, Option<u64>, Jitter) { (reception.ssrc(), reception.is_valid(), reception.expected(), reception.received(), reception.lost(), reception.highest(), reception.jitter()) }

    probe_request_parse(bytes: &[u8]) -> Result<Request, RequestError> { Request::parse(bytes) }
    probe_request_write(request: &Request, out: &mut [u8; DISCOVERY_LEN]) -> () { request.write(out) }
    probe_response_parse(bytes: &[u8], expected: Ssrc) -> Result<Response, ResponseError> { Response::parse(bytes, expected) }
    probe_response_write(response: &Response, out: &mut [u8; DISCOVERY_LEN]) -> () { response.write(out) }
    probe_ping(ping: Ping) -> ([u8; 8], [u8; 8]) { (ping.request(), ping.response()) }
    probe_ping_parse(bytes: &[u8]) -> (Option<Ping>, Option<Ping>) { (Ping::parse_request(bytes), Ping::parse_response(bytes)) }

    probe_rtcp_header_parse(bytes: &[u8]) -> Result<rtcp::Header, rtcp::ParseError> { rtcp::Header::parse(bytes) }
    probe_rtcp_packets(bytes: &[u8]) -> rtcp::Packets<'_> { rtcp::packets(bytes) }
    probe_rtcp_packets_next<'a>(packets: &mut rtcp::Packets<'a>) -> Option<Result<rtcp::Packet<'a>, rtcp::ParseError>> { packets.next() }
    probe_rtcp_packets_padding_len(packets: &rtcp::Packets<'_>) -> u8 { packets.padding_len() }
    probe_rtcp_reports(reports: &rtcp::Reports<'_>, place: usize) -> (usize, bool, Option<ReportBlock>) { (reports.len(), reports.is_empty(), reports.iter().nth(place)) }
    probe_rtcp_report_block(block: &ReportBlock) -> [u8; 24] { block.to_bytes() }
    probe_rtcp_report_block_round_trip(block: &ReportBlock, arrival: NtpTimestamp) -> Option<Duration> { block.round_trip(arrival) }
    probe_rtcp_goodbye<'a>(goodbye: &rtcp::Goodbye<'a>, place: usize) -> (Option<Ssrc>, Option<&'a [u8]>) { (goodbye.sources().nth(place), goodbye.reason()) }
    probe_rtcp_chunks<'a>(description: &rtcp::SourceDescription<'a>, place: usize) -> Option<rtcp::Chunk<'a>> { description.chunks().nth(place) }
    probe_rtcp_items<'a>(chunk: &rtcp::Chunk<'a>, place: usize) -> (Ssrc, Option<Item<'a>>, Option<&'a [u8]>) { (chunk.ssrc(), chunk.items().nth(place), chunk.cname()) }
    probe_rtcp_nack(nack: &rtcp::Nack<'_>, place: usize) -> (Option<NackPair>, Option<Sequence>) { (nack.pairs().nth(place), nack.lost().nth(place)) }
    probe_rtcp_nack_pair(pair: NackPair, place: usize) -> Option<Sequence> { pair.lost().nth(place) }
    probe_rtcp_nack_pack(lost: &[Sequence], place: usize) -> Option<NackPair> { NackPair::pack(lost.iter().copied()).nth(place) }
    probe_rtcp_slice_losses(losses: &rtcp::SliceLosses<'_>, place: usize) -> Option<SliceLoss> { losses.iter().nth(place) }
    probe_rtcp_intra_requests(requests: &rtcp::IntraRequests<'_>, place: usize) -> Option<IntraRequest> { requests.iter().nth(place) }
    probe_rtcp_remb(remb: &rtcp::Remb<'_>, place: usize) -> (u64, Option<Ssrc>) { (remb.bitrate(), remb.sources().nth(place)) }
    probe_rtcp_arrivals(feedback: &rtcp::TransportCc<'_>, place: usize) -> Option<rtcp::Arrival> { feedback.arrivals().nth(place) }
    probe_rtcp_ntp(bits: u64, since: Duration) -> (u32, NtpTimestamp) { (NtpTimestamp::from_bits(bits).short(), NtpTimestamp::from_unix(since)) }
    probe_rtcp_ntp_arithmetic(a: NtpTimestamp, b: NtpTimestamp, later: Duration) -> (u64, Duration) { (a.wrapping_add(later).to_bits(), a.saturating_since(b)) }
    probe_rtcp_short(short: u32, duration: Duration) -> (Duration, u32) { (rtcp::duration_from_short(short), rtcp::short_from_duration(duration)) }
    probe_rtcp_sender_report(ssrc: Ssrc, info: &SenderInfo, reports: &[ReportBlock], out: &mut [u8]) -> Result<usize, rtcp::WriteError> { rtcp::write_sender_report(ssrc, info, reports, out) }
    probe_rtcp_receiver_report(ssrc: Ssrc, reports: &[ReportBlock], out: &mut [u8]) -> Result<usize, rtcp::WriteError> { rtcp::write_receiver_report(ssrc, reports, out) }
    probe_compound_new(out: &mut [u8]) -> CompoundWriter<'_> { CompoundWriter::new(out) }
    probe_compound_sender_report(writer: &mut CompoundWriter<'_>, ssrc: Ssrc, info: &SenderInfo, reports: &[ReportBlock], rest: &[u8]) -> Result<(), rtcp::WriteError> { writer.sender_report(ssrc, info, reports, rest) }
    probe_compound_receiver_report(writer: &mut CompoundWriter<'_>, ssrc: Ssrc, reports: &[ReportBlock], rest: &[u8]) -> Result<(), rtcp::WriteError> { writer.receiver_report(ssrc, reports, rest) }
    probe_compound_source_description(writer: &mut CompoundWriter<'_>, chunks: &[(Ssrc, &[Item<'_>])]) -> Result<(), rtcp::WriteError> { writer.source_description(chunks.iter().map(|(ssrc, items)| (*ssrc, items.iter().copied()))) }
    probe_compound_goodbye(writer: &mut CompoundWriter<'_>, sources: &[Ssrc], reason: Option<&[u8]>) -> Result<(), rtcp::WriteError> { writer.goodbye(sources, reason) }
    probe_compound_application(writer: &mut CompoundWriter<'_>, application: &rtcp::Application<'_>) -> Result<(), rtcp::WriteError> { writer.application(application) }
    probe_compound_nack(writer: &mut CompoundWriter<'_>, sender: Ssrc, media: Ssrc, pairs: &[NackPair]) -> Result<(), rtcp::WriteError> { writer.nack(sender, media, pairs.iter().copied()) }
    probe_compound_transport_cc(writer: &mut CompoundWriter<'_>, sender: Ssrc, media: Ssrc, info: &rtcp::TransportCcInfo, deltas: &[Option<i16>]) -> Result<(), rtcp::WriteError> { writer.transport_cc(sender, media, info, deltas) }
    probe_compound_picture_loss(writer: &mut CompoundWriter<'_>, sender: Ssrc, media: Ssrc) -> Result<(), rtcp::WriteError> { writer.picture_loss(sender, media) }
    probe_compound_slice_loss(writer: &mut CompoundWriter<'_>, sender: Ssrc, media: Ssrc, losses: &[SliceLoss]) -> Result<(), rtcp::WriteError> { writer.slice_loss(sender, media, losses.iter().copied()) }
    probe_compound_full_intra(writer: &mut CompoundWriter<'_>, sender: Ssrc, requests: &[IntraRequest]) -> Result<(), rtcp::WriteError> { writer.full_intra(sender, requests.iter().copied()) }
    probe_compound_remb(writer: &mut CompoundWriter<'_>, sender: Ssrc, bitrate: u64, sources: &[Ssrc]) -> Result<(), rtcp::WriteError> { writer.remb(sender, bitrate, sources) }
    probe_compound_other(writer: &mut CompoundWriter<'_>, packet_type: u8, count: u8, body: &[u8]) -> Result<(), rtcp::WriteError> { writer.other(packet_type, count, body) }
    probe_compound_packet(writer: &mut CompoundWriter<'_>, packet: &rtcp::Packet<'_>, padding_len: u8) -> Result<(), rtcp::WriteError> { writer.packet(packet, padding_len) }
    probe_compound_pad(writer: &mut CompoundWriter<'_>, padding_len: u8) -> Result<(), rtcp::WriteError> { writer.pad(padding_len) }
    probe_compound_written_len(writer: &CompoundWriter<'_>) -> usize { writer.written_len() }
    probe_compound_finish<'b>(writer: CompoundWriter<'b>) -> &'b mut [u8] { writer.finish() }

    // What the check must find: directly, in the core library, behind calls, and behind a table.
    control_index(bytes: &[u8], place: usize) -> u8 { bytes[place] }
    control_slice(bytes: &[u8], end: usize) -> &[u8] { &bytes[..end] }
    control_copy(to: &mut [u8], from: &[u8]) -> () { to.copy_from_slice(from) }
    control_unwrap(value: Option<u8>) -> u8 { value.unwrap() }
    control_expect(value: Result<u8, u8>) -> u8 { value.expect("a value") }
    control_divide(a: u32, b: u32) -> u32 { a / b }
    control_core(text: &str) -> Option<IpAddr> { text.parse().ok() }
    control_deep(bytes: &[u8], depth: usize) -> u8 { deep(bytes, depth) }
    control_table(which: usize) -> &'static [fn(&[u8], usize) -> u8] { if which == 0 { &TABLE } else { &[] } }
}

static TABLE: [fn(&[u8], usize) -> u8; 1] = [deep];

#[inline(never)]
fn deep(bytes: &[u8], depth: usize) -> u8 {
    if depth > 3 { deeper(bytes, depth - 1) } else { 0 }
}

#[inline(never)]
fn deeper(bytes: &[u8], depth: usize) -> u8 {
    bytes[depth]
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}
