//! The path of a call to one media server.

use std::{io, time::Instant};

use voice_udp::{
    Keepalive, MediaFault, MediaHealth, Receiver, SealError, Sender,
    socket::{DatagramSink, Socket},
};

use super::Account;
use crate::driver::shared::{LinkFault, MediaStats};

/// The path to one media server.
pub(super) struct Link {
    pub(super) number: u64,
    pub(super) socket: Socket,
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) keepalive: Keepalive,
    pub(super) health: MediaHealth,
    /// It was reported that media does not get through.
    pub(super) failed: bool,
    /// Audio may leave.
    pub(super) begun: bool,
    /// Datagrams that were handed to the system.
    pub(super) handed: u64,
    /// Those of them that did not leave.
    pub(super) unsent: u64,
    pub(super) blocked: u64,
    pub(super) errors: u64,
    pub(super) errors_in_a_row: u64,
    pub(super) oversized: u64,
    pub(super) unheard: u64,
}

impl Link {
    /// Seals a frame for the sink. One that the call holds back is counted and gone.
    pub(super) fn send_frame(
        &mut self,
        number: usize,
        frame: &[u8],
        sink: &mut dyn DatagramSink,
    ) -> Result<(), SealError> {
        let len = self.sender.seal(frame, sink.buffer())?.len();
        sink.queue(number, len);
        self.handed += 1;
        Ok(())
    }

    /// Counts a datagram that did not leave.
    pub(super) fn send_failed(&mut self, now: Instant, error: &io::Error, account: &Account) {
        self.unsent += 1;
        if error.kind() == io::ErrorKind::WouldBlock {
            self.blocked += 1;
        } else {
            self.failed(now, error, account);
        }
        let fault = self.health.handle_unsent(now, self.handed.saturating_sub(self.unsent));
        self.report(fault, account);
    }

    /// Counts an error of the socket.
    pub(super) fn failed(&mut self, now: Instant, error: &io::Error, account: &Account) {
        self.errors += 1;
        let fault = self.health.handle_socket_error(now, error.kind());
        self.report(fault, account);
    }

    pub(super) fn figures(&self) -> MediaStats {
        MediaStats {
            sent: *self.sender.stats(),
            received: *self.receiver.stats(),
            round_trip: self.keepalive.round_trip(),
            blocked: self.blocked,
            unsent: self.unsent,
            pings: self.keepalive.sent().into(),
            pongs: self.keepalive.answered(),
            socket_errors: self.errors,
            unreachable: self.health.unreachable(),
            oversized: self.oversized,
            unheard: self.unheard,
            ..MediaStats::default()
        }
    }

    /// Tells control, once, that media does not get through any more.
    pub(super) fn report(&mut self, fault: Option<MediaFault>, account: &Account) {
        if let Some(fault) = fault
            && !std::mem::replace(&mut self.failed, true)
        {
            // They say why, to who hears of it.
            account.publish(self);
            account.shared.media_failed(self.number, LinkFault::Media(fault));
        }
    }
}
