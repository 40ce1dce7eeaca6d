//! What becomes of the frames that are on their way while somebody comes.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use voice_dave::Media;
use voice_model::UserId;

use crate::call::{Call, Kind};

/// A frame on its way: when it was sent, by whom, which of theirs, and what it became.
struct Sent {
    at: Instant,
    from: u64,
    number: u32,
    sealed: Vec<u8>,
}

/// The frames that a newcomer does not open are those that were sealed before its speaker had a key of the newcomer's
/// group: a newcomer with the session of others refuses the very same ones, and those who were there open all.
#[test]
fn a_newcomer_misses_the_same_frames_whosever_session_it_has() {
    for kinds in [[Kind::Ours, Kind::Davey], [Kind::Davey, Kind::Ours], [Kind::Davey, Kind::Davey]] {
        for delay in [0, 20, 70, 200] {
            let delay = Duration::from_millis(delay);
            let ours = missed_by_newcomer(kinds, Kind::Ours, delay);
            let davey = missed_by_newcomer(kinds, Kind::Davey, delay);
            assert_eq!(ours, davey, "{kinds:?}, {delay:?} on their way");
            // One beginning of what each of the two said, and nothing behind it.
            for from in [1, 2] {
                let missed: Vec<_> = ours.iter().filter(|(user, _)| *user == from).map(|(_, number)| *number).collect();
                assert!(!missed.is_empty() && missed.len() < FRAMES as usize / 2);
                assert_eq!(missed, (0..missed.len() as u32).collect::<Vec<_>>());
            }
        }
    }
}

/// Two talk while a third comes; the frames, by speaker and number, that the third does not open within a second.
fn missed_by_newcomer(kinds: [Kind; 2], newcomer: Kind, delay: Duration) -> BTreeSet<(u64, u32)> {
    let mut call = Call::of(kinds);
    call.enter(3, newcomer);
    let mut on_their_way: Vec<Sent> = Vec::new();
    let mut missed = BTreeSet::new();
    let mut waiting: Vec<Sent> = Vec::new();
    for step in 0..2 * FRAMES + 150 {
        if step % 2 == 0 && step < 2 * FRAMES {
            for from in [1, 2] {
                let number = step / 2;
                let sealed = call.member(from).member.seal(&number.to_be_bytes()).expect("it has a key all the time");
                on_their_way.push(Sent { at: call.now, from, number, sealed });
            }
        }
        let (now, all) = (call.now, std::mem::take(&mut on_their_way));
        let (arrived, others) = all.into_iter().partition::<Vec<_>, _>(|sent| now >= sent.at + delay);
        on_their_way = others;
        for sent in &arrived {
            let frame = sent.number.to_be_bytes();
            assert!(call.hears(sent.from, 3 - sent.from, &sent.sealed, &frame), "who was there opens everything");
        }
        waiting.extend(arrived);
        waiting.retain(|sent| {
            let opened = call.member(3).member.open(now, UserId::new(sent.from), Media::Audio, &sent.sealed);
            let over = now >= sent.at + delay + Duration::from_secs(1);
            if opened.is_none() && over {
                missed.insert((sent.from, sent.number));
            }
            opened.is_none() && !over
        });
        call.run(Duration::from_millis(10));
    }
    call.assert_together();
    assert!(waiting.is_empty() && on_their_way.is_empty());
    missed
}

/// Frames that each says: a second.
const FRAMES: u32 = 50;
