//! What a call of libdave members sends, as its voice gateway sees it.

#[path = "../src/vectors.rs"]
mod vectors;

use voice_dave::wire::{
    AppendList, CommitWelcome, Content, ExternalSender, KeyPackage, LeafSource, Lifetime, Proposal, ProposalRef,
    PublicMessage, RevokeList, Sender, Welcome, write_append, write_revoke,
};
use voice_model::UserId;

use vectors::{Case, load};

#[test]
fn every_message_is_read_and_written_again() {
    let mut seen = 0;
    for step in steps() {
        let kind = step.text("step");
        let Some(payload) = payload(&step) else { continue };
        let mut out = Vec::new();
        match kind.split(" (").next().unwrap() {
            "external sender package" => ExternalSender::parse(&payload).unwrap().write(&mut out),
            "key package" => KeyPackage::parse(&payload).unwrap().write(&mut out),
            "external proposal" => PublicMessage::parse_all(&payload).unwrap().write(&mut out),
            "proposals" => {
                let messages: Vec<_> = AppendList::parse(&payload[1..]).unwrap().map(|item| item.unwrap().1).collect();
                out.push(payload[0]);
                out.extend(write_append(messages));
            }
            "commit and welcome" => {
                let parsed = CommitWelcome::parse(&payload).unwrap();
                parsed.commit.write(&mut out);
                if let Some(welcome) = parsed.welcome {
                    welcome.write(&mut out);
                }
            }
            "welcome for one member" => Welcome::parse(&payload).unwrap().write(&mut out),
            other => panic!("no test for {other}"),
        }
        assert_eq!(out, payload, "{kind}");
        seen += 1;
    }
    assert_eq!(seen, 24);
}

#[test]
fn every_truncation_is_refused() {
    for step in steps() {
        let kind = step.text("step");
        let Some(payload) = payload(&step) else { continue };
        for len in 0..payload.len() {
            let cut = &payload[..len];
            let refused = match kind.split(" (").next().unwrap() {
                "external sender package" => ExternalSender::parse(cut).is_err(),
                "key package" => KeyPackage::parse(cut).is_err(),
                "external proposal" => PublicMessage::parse(cut).is_err(),
                "proposals" => cut.is_empty() || AppendList::parse(&cut[1..]).is_err(),
                // Without its welcome the commit stands alone.
                "commit and welcome" => CommitWelcome::parse(cut).is_err() || len == step.text("commit").len() / 2,
                _ => Welcome::parse(cut).is_err(),
            };
            assert!(refused, "{kind}, {len} bytes");
        }
    }
}

#[test]
fn key_packages_have_the_stated_fields_and_are_those_of_dave() {
    for step in steps() {
        if !step.text("step").starts_with("key package") {
            continue;
        }
        let payload = step.bytes("payload");
        let package = KeyPackage::parse(&payload).unwrap();
        assert!(package.is_dave());
        assert_eq!(package.leaf.credential.user_id(), Some(UserId::new(step.id("user"))));
        assert_eq!(package.leaf.source, LeafSource::KeyPackage(Lifetime::UNLIMITED));
        // The last one is sent for a new session and has no more stated than its bytes.
        if step.optional("ref").is_some() {
            assert_eq!(package.leaf.credential.identity, step.bytes("identity"));
            assert_eq!(package.leaf.signature_key, step.bytes("signature_key"));
            assert_eq!(package.reference()[..], step.bytes("ref"));
        }
    }
}

#[test]
fn proposals_have_the_stated_references() {
    let mut seen = 0;
    for step in steps() {
        if step.text("step").starts_with("external proposal") {
            let payload = step.bytes("payload");
            let message = PublicMessage::parse_all(&payload).unwrap();
            assert_eq!(message.reference().0[..], step.bytes("ref"));
            assert_eq!(message.epoch, step.number("epoch"));
            assert_eq!(message.sender, Sender::External(0));
            assert_eq!(message.membership_tag, None);
            assert!(matches!(message.content, Content::Proposal(Proposal::Add(_) | Proposal::Remove(_))));
            seen += 1;
        }
    }
    assert_eq!(seen, 6);
}

#[test]
fn commits_have_the_stated_fields_and_end_where_their_welcome_starts() {
    for step in steps() {
        if !step.text("step").starts_with("commit and welcome") {
            continue;
        }
        let payload = step.bytes("payload");
        let CommitWelcome { commit: message, welcome } = CommitWelcome::parse(&payload).unwrap();
        let Content::Commit(commit) = message.content else { panic!("not a commit") };
        assert_eq!(message.raw(), step.bytes("commit"));
        assert_eq!(message.epoch, step.number("epoch"));
        assert_eq!(message.sender, Sender::Member(step.number("sender_leaf") as u32));
        assert_eq!(commit.path.is_some(), step.flag("has_path"));
        let refs: Vec<_> = commit.references().unwrap().iter().map(|reference| reference.0.to_vec()).collect();
        assert_eq!(refs, step.byte_strings("refs"));
        assert_eq!(welcome.is_none(), step.text("welcome") == "-");
    }
}

#[test]
fn a_welcome_is_cut_for_each_who_is_added() {
    let mut whole = Vec::new();
    let mut packages = std::collections::HashMap::new();
    for step in steps() {
        let kind = step.text("step");
        if kind.starts_with("key package") {
            packages.insert(step.text("user"), step.bytes("payload"));
        } else if kind.starts_with("commit and welcome") {
            whole = step.bytes("welcome");
        } else if kind.starts_with("welcome for one member") {
            let reference = KeyPackage::parse(&packages[&step.text("user")]).unwrap().reference();
            let cut = Welcome::parse(&whole).unwrap().cut_for(&reference).unwrap();
            assert_eq!(cut, step.bytes("payload"));
            assert_eq!(Welcome::parse(&whole).unwrap().cut_for(&[0; 32]), None);
        }
    }
}

#[cfg(feature = "signature")]
#[test]
fn what_is_signed_verifies() {
    use voice_dave::wire::verify;

    let mut sender = Vec::new();
    let mut checked = 0;
    for step in steps() {
        let kind = step.text("step");
        if kind.starts_with("external sender") {
            sender = step.bytes("payload");
        } else if kind.starts_with("external proposal") {
            let payload = step.bytes("payload");
            let key = ExternalSender::parse(&sender).unwrap().signature_key;
            let message = PublicMessage::parse_all(&payload).unwrap();
            verify(key, &message.signed_bytes(), message.signature).unwrap();
            checked += 1;
        } else if kind.starts_with("key package") {
            let payload = step.bytes("payload");
            let package = KeyPackage::parse(&payload).unwrap();
            let key = package.leaf.signature_key;
            verify(key, &package.signed_bytes(), package.signature).unwrap();
            verify(key, &package.leaf.signed_bytes(&[], 0), package.leaf.signature).unwrap();
            checked += 1;
        } else if kind.starts_with("commit and welcome") {
            let payload = step.bytes("payload");
            let message = CommitWelcome::parse(&payload).unwrap().commit;
            let (Content::Commit(commit), Sender::Member(leaf)) = (message.content, message.sender) else {
                panic!("not a commit of a member")
            };
            if let Some(path) = commit.path {
                let signed = path.leaf.signed_bytes(message.group_id, leaf);
                verify(path.leaf.signature_key, &signed, path.leaf.signature).unwrap();
                checked += 1;
            }
        }
    }
    assert_eq!(checked, 13);
}

fn steps() -> Vec<Case> {
    load("delivery").list("steps")
}

fn payload(step: &Case) -> Option<Vec<u8>> {
    step.optional("payload").map(|_| step.bytes("payload"))
}

proptest::proptest! {
    #[test]
    fn what_is_read_of_any_bytes_is_written_the_same(step in 0usize..28, at: usize, byte: u8, cut: usize) {
        let Some(mut bytes) = steps().get(step).and_then(payload) else { return Ok(()) };
        let len = bytes.len();
        bytes[at % len] = byte;
        bytes.truncate(len - cut % 4);
        let mut out = Vec::new();
        if let Ok(sender) = ExternalSender::parse(&bytes) {
            sender.write(&mut out);
            proptest::prop_assert_eq!(&out, &bytes);
        }
        out.clear();
        if let Ok(package) = KeyPackage::parse(&bytes) {
            package.write(&mut out);
            proptest::prop_assert_eq!(&out, &bytes);
            proptest::prop_assert_eq!(package.raw(), &bytes[..]);
        }
        out.clear();
        if let Ok((message, used)) = PublicMessage::parse(&bytes) {
            message.write(&mut out);
            proptest::prop_assert_eq!(&out[..], &bytes[..used]);
            proptest::prop_assert_eq!(message.raw(), &bytes[..used]);
        }
        out.clear();
        if let Ok(parsed) = CommitWelcome::parse(&bytes) {
            parsed.commit.write(&mut out);
            if let Some(welcome) = parsed.welcome {
                welcome.write(&mut out);
            }
            proptest::prop_assert_eq!(&out, &bytes);
        }
        out.clear();
        if let Ok(welcome) = Welcome::parse(&bytes) {
            welcome.write(&mut out);
            proptest::prop_assert_eq!(&out, &bytes);
        }
        if let Ok(list) = AppendList::parse(bytes.get(1..).unwrap_or_default()) {
            let read: usize = list.map_while(Result::ok).map(|(_, message)| message.len()).sum();
            proptest::prop_assert!(read < bytes.len());
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
        let _ = ExternalSender::parse(&bytes);
        let _ = KeyPackage::parse(&bytes);
        let _ = CommitWelcome::parse(&bytes);
        let _ = Welcome::parse(&bytes);
        proptest::prop_assert!(AppendList::parse(&bytes).into_iter().flatten().count() <= bytes.len());
        proptest::prop_assert!(RevokeList::parse(&bytes).into_iter().flatten().count() <= bytes.len());
    }
}

#[test]
fn revocations_survive_a_round_trip() {
    let references = [ProposalRef([1; 32]), ProposalRef([2; 32])];
    let payload = write_revoke(references);
    assert_eq!(payload.len(), 2 + 2 * 33);
    let read: Result<Vec<_>, _> = RevokeList::parse(&payload).unwrap().collect();
    assert_eq!(read.unwrap(), references);
    // A reference of another length is none.
    let short = [&[33, 32][..], &[1; 31], &[0]].concat();
    assert!(RevokeList::parse(&short[..33]).is_err());
    assert!(RevokeList::parse(&[2, 1, 7]).unwrap().next().unwrap().is_err());
}
