//! Lists of operations on a call of two: those that are known, which are the seeds of the fuzz target `dave_ops`, and
//! random ones.

mod common;

use std::{collections::BTreeMap, fs, path::PathBuf};

use common::ops::{self, FAULTS, PROPOSALS, op, setup};
use proptest::prelude::*;

#[test]
fn known_lists_lead_to_members_who_hear_each_other() {
    for (name, seed) in seeds() {
        eprintln!("{name}");
        ops::run(&seed);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_list_of_operations_leads_to_members_who_hear_each_other(
        bytes in proptest::collection::vec(any::<u8>(), 0..96),
    ) {
        ops::run(&bytes);
    }
}

#[test]
#[ignore = "says what happens in a list of operations, which OPS names a file of"]
fn tell() {
    ops::tell(&fs::read(std::env::var_os("OPS").expect("OPS names a file")).expect("a file"));
}

#[test]
fn seeds_are_the_known_lists() {
    // A packaged crate has no fuzz targets beside it.
    if !folder().exists() {
        return;
    }
    for (name, seed) in seeds() {
        let hint = "cargo test -p voice-server --test dave_ops -- --ignored write_seeds";
        assert!(fs::read(folder().join(&name)).ok() == Some(seed), "{name}: {hint}");
    }
}

#[test]
#[ignore = "writes the seeds of the fuzz target"]
fn write_seeds() {
    fs::create_dir_all(folder()).expect("a folder");
    for (name, seed) in seeds() {
        fs::write(folder().join(name), seed).expect("a file");
    }
}

/// One list for each operation and each fault, and those that a run of the fuzz target found.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    let mut add = |name: &str, setup: u8, ops: &[&[u8]]| {
        let seed = [&[setup][..], &ops.concat()].concat();
        assert!(seeds.insert(name.to_owned(), seed).is_none(), "{name} is there twice");
    };
    // Bit 0 of a message is its member, bit 1 is for messages to the server, the rest counts from the first.
    let (first, second) = (0, 4);
    let to_server = 2;

    for (name, setup) in [("required", setup::REQUIRED), ("early-sender", setup::EARLY_SENDER), ("usual", 0)] {
        add(name, setup, &[&[op::JOIN, 0, op::JOIN, 1, op::WAIT, 50, op::SPEAK, 0, op::SPEAK, 1]]);
    }
    add("leave-and-join", setup::TOGETHER, &[&[op::LEAVE, 0, op::WAIT, 5, op::JOIN, 0, op::LEAVE, 1, op::JOIN, 1]]);
    add(
        "frames",
        setup::TOGETHER,
        &[&SPEAK_BOTH, &[op::HEAR, 1, 0, 255, op::HEAR, 1, 0, 3, op::FORGE, 0, op::FORGE, 1]],
    );
    add("old-frames", setup::TOGETHER, &[&SPEAK_BOTH, &REJOIN, &[op::WAIT, 50], &SPEAK_BOTH, &[op::HEAR, 0, 0, 255]]);
    let plain = [op::PLAIN, op::SPEAK, 0, op::WAIT, 50, op::SPEAK, 0, op::FORGE, 1];
    add("downgrade-and-upgrade", setup::TOGETHER, &[&plain, &plain, &[op::WAIT_LONG, 120, op::FORGE, 1]]);
    add("plain-for-a-moment", setup::TOGETHER, &[&[op::PLAIN, op::PLAIN, op::SPEAK, 0, op::WAIT, 1, op::PLAIN]]);
    add(
        "plain-from-the-beginning",
        0,
        &[&[op::PLAIN, op::JOIN, 0, op::SPEAK, 0, op::JOIN, 1, op::SPEAK, 1, op::PLAIN]],
    );

    for (name, setup) in [("resume", 0), ("resume-replay-first", setup::REPLAY_FIRST)] {
        let lost = [op::CUT, 0, op::WAIT, 50, op::RESUME, 0, op::SPEAK, 0];
        add(name, setup | setup::TOGETHER, &[&REJOIN, &lost, &[op::WAIT, 2], &lost]);
    }
    add("resume-too-late", setup::TOGETHER, &[&[op::CUT, 0, op::WAIT_LONG, 255, op::WAIT_LONG, 255, op::RESUME, 0]]);
    // What is said and lost with the socket: a key package after opcode 24, and an answer to a commit.
    for (name, fault) in [("lost-key-package", [op::FAULT, 0, 8, 1, 1]), ("lost-answer", [op::FAULT, 0, 9, 1, 0])] {
        let lost = [op::DELIVER, first, op::CUT, 0, op::RESUME, 0, op::RELEASE, 0];
        add(name, setup::TOGETHER, &[&[op::HOLD, 0], &fault, &lost]);
    }

    for (name, op) in [("lose", op::LOSE), ("duplicate", op::DUPLICATE), ("swap", op::SWAP)] {
        for (direction, bit) in [("down", 0), ("up", to_server)] {
            let disturb = [op, first | bit, op::DELIVER, first | bit, op, second | bit, op::RELEASE, 0];
            let more = [op::HOLD, 0, op::DELIVER, first, op::DELIVER, first, op::DELIVER, first];
            add(
                &format!("{name}-{direction}"),
                setup::TOGETHER,
                &[&[op::HOLD, 0], &REJOIN, &[op::WAIT, 9], &more, &disturb],
            );
        }
    }
    for (name, message) in [("commit", second), ("own-commit", to_server)] {
        let corrupt = [op::CORRUPT, message, 0, 99, 5, op::WAIT, 9, op::RELEASE, 0, op::WAIT_LONG, 30];
        let more = [op::WAIT, 3, op::DELIVER, first, op::DELIVER, first, op::DELIVER, first, op::DELIVER, first];
        add(&format!("corrupt-{name}"), setup::TOGETHER, &[&[op::HOLD, 0], &REJOIN, &more, &corrupt]);
    }

    for fault in 0..FAULTS {
        // Once between the proposals and the commit, once while nothing happens.
        let fault = [op::FAULT, 2, fault, 1, 1];
        add(
            &format!("fault-{:02}", fault[2]),
            setup::TOGETHER,
            &[&fault, &REJOIN, &[op::WAIT, 2], &fault, &[op::WAIT, 9]],
        );
    }
    for (number, _) in (0..).zip(PROPOSALS) {
        let fault = [op::FAULT, 2, 1, number, 0];
        add(&format!("proposal-{number:02}"), 0, &[&[op::JOIN, 0, op::JOIN, 1], &fault, &[op::WAIT, 50], &fault]);
    }
    // A member that is not told of the external sender refuses every welcome.
    let untold = [op::LEAVE, 1, op::FAULT, 1, 15, 6, 0, op::JOIN, 1, op::WAIT_LONG, 228];
    add("never-follows", setup::TOGETHER, &[&untold]);
    // A commit is replayed with the number of the next transition, whose welcome is for somebody else.
    let replay = [op::FAULT, 0, 9, 2, 0, op::HOLD, 0, op::FAULT, 2, 14, 0, 0, op::WAIT, 44, op::WAIT, 44];
    add("number-comes-back", setup::TOGETHER, &[&replay]);
    seeds
}

const SPEAK_BOTH: [u8; 4] = [op::SPEAK, 0, op::SPEAK, 1];

const REJOIN: [u8; 4] = [op::LEAVE, 1, op::JOIN, 1];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/dave_ops")
}
