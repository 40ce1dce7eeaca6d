//! A join with given private keys, and the commits after it, as libdave members made them.

use std::time::Duration;

use mls_rs::time::MlsTime;
use voice_model::{ChannelId, UserId};

use super::{CommitOutcome, Engine, Epoch, Known, Membership};
use crate::{
    Refusal,
    vectors::{Case, load},
    wire::{
        CommitWelcome, ExternalProposal, ExternalSender, KeyPackage, ProposalBody, SigningKey, Welcome, write_append,
    },
};

#[test]
fn a_member_with_given_keys_follows_libdave_members() {
    let (file, mut member) = vector();
    check(&file, &mut member, "welcome", |member, bytes| member.welcome(bytes, &Everybody).unwrap());
    check_state(&file, "after_welcome", &member);

    for (proposals, commit, state) in
        [("proposals_1", "commit_1", "after_commit_1"), ("proposals_2", "commit_2", "after_commit_2")]
    {
        check(&file, &mut member, proposals, |member, bytes| {
            let batch = member.append(&bytes[1..], &Everybody);
            assert_eq!((bytes[0], batch.refusal), (0, None));
            // Its own commit loses against the one that the voice gateway chose.
            assert!(batch.commit.is_some());
        });
        check(&file, &mut member, commit, |member, bytes| {
            assert_eq!(member.commit(bytes), CommitOutcome::Applied);
        });
        check_state(&file, state, &member);
    }
}

#[test]
fn a_commit_is_not_applied_before_its_proposals() {
    let (file, mut member) = vector();
    member.welcome(&file.bytes("welcome"), &Everybody).unwrap();
    let commit = file.bytes("commit_1");
    assert_eq!(member.commit(&commit), CommitOutcome::Refused(Refusal::NothingQueued));
    // Proposals of a later epoch are not queued either.
    let batch = member.append(&file.bytes("proposals_2")[1..], &Everybody);
    assert_eq!(batch.refusal, Some(Refusal::WrongEpoch));
    assert_eq!(member.commit(&commit), CommitOutcome::Refused(Refusal::UnknownReference));
    assert_eq!(member.epoch(), Some(1));
}

#[test]
fn a_commit_with_any_bit_changed_is_refused() {
    let (file, _) = vector();
    let commit = file.bytes("commit_1");
    for index in (0..commit.len()).step_by(7) {
        let (_, mut member) = vector();
        member.welcome(&file.bytes("welcome"), &Everybody).unwrap();
        assert_eq!(member.append(&file.bytes("proposals_1")[1..], &Everybody).refusal, None);
        let mut changed = commit.clone();
        changed[index] ^= 1;
        assert!(matches!(member.commit(&changed), CommitOutcome::Refused(_)), "byte {index}");
    }
}

#[test]
fn a_welcome_is_refused_for_each_reason() {
    struct Nobody;
    impl Known for Nobody {
        fn is_here(&self, _: UserId) -> bool {
            false
        }
        fn was_here(&self, _: UserId) -> bool {
            false
        }
        fn count(&self) -> usize {
            1
        }
    }

    let (file, mut member) = vector();
    let welcome = file.bytes("welcome");
    assert_eq!(member.welcome(&welcome, &Nobody), Err(Refusal::Stranger));
    // The key package is spent, whatever came of it.
    assert_eq!(member.welcome(&welcome, &Everybody), Err(Refusal::NoKeyPackage));

    let (_, mut member) = vector();
    member.key_package().unwrap();
    assert_eq!(member.welcome(&welcome, &Everybody), Err(Refusal::NotForUs), "only the newest key package is open");

    let (_, mut member) = vector();
    assert_eq!(member.welcome(&welcome[1..], &Everybody), Err(Refusal::Malformed));
    let mut changed = welcome.clone();
    *changed.last_mut().unwrap() ^= 1;
    assert_eq!(member.welcome(&changed, &Everybody), Err(Refusal::BadWelcome));

    let (_, mut member) = vector();
    let other = SigningKey::generate();
    let sender = ExternalSender { signature_key: &other.public_key(), credential_type: 1, identity: &[0, 1, 1, 0] };
    let mut bytes = Vec::new();
    sender.write(&mut bytes);
    member.set_sender(&bytes).unwrap();
    assert_eq!(member.welcome(&welcome, &Everybody), Err(Refusal::WrongExternalSender));

    let (_, mut member) = vector();
    member.sender = None;
    assert_eq!(member.welcome(&welcome, &Everybody), Err(Refusal::NoExternalSender));

    let (_, mut member) = vector();
    member.group_id = [9; 8];
    assert_eq!(member.welcome(&welcome, &Everybody), Err(Refusal::WrongGroup));

    let (_, mut member) = vector();
    member.welcome(&welcome, &Everybody).unwrap();
    assert_eq!(member.welcome(&welcome, &Everybody), Err(Refusal::AlreadyMember));
}

#[test]
fn a_founder_whose_own_leaf_is_not_valid_at_every_time_is_joined() {
    // Only key packages must be: what a member says of the leaf in its local group is its own affair. davey founds
    // groups with a leaf that is valid from an hour ago on.
    let gateway = SigningKey::generate();
    let public = gateway.public_key();
    let sender = ExternalSender { signature_key: &public, credential_type: 1, identity: &[0, 1, 1, 0] };
    let mut sender_bytes = Vec::new();
    sender.write(&mut sender_bytes);
    let [founder_key, joiner_key] = [SigningKey::generate(), SigningKey::generate()];
    let member = |user, key| Membership::new(UserId::new(user), ChannelId::new(9), key, Some(&sender_bytes));

    let (mut founder, mut joiner) = (member(1, &founder_key), member(2, &joiner_key));
    founder.engine = Engine::with_lifetime(founder.user, &founder_key, Duration::from_secs(u64::MAX / 2));
    let group = founder.engine.create_at(founder.group_id, &sender, MlsTime::from(7200)).unwrap();
    founder.epoch = Some(Epoch::new(group));
    let package = joiner.key_package().unwrap();
    let body = ProposalBody::Add(package);
    let add = ExternalProposal { group_id: &founder.group_id, epoch: 0, sender_index: 0, body }.sign(&gateway);
    let payload = founder.append(&write_append([&add[..]]), &Everybody).commit.unwrap();
    let commit_len = CommitWelcome::parse(&payload).unwrap().commit.raw().len();
    let (commit, welcome) = payload.split_at(commit_len);
    assert_eq!(founder.commit(commit), CommitOutcome::Applied);
    assert_eq!(joiner.welcome(welcome, &Everybody), Ok(()));
    assert_eq!(joiner.epoch_authenticator(), founder.epoch_authenticator());
}

#[test]
fn a_key_package_is_bare_and_exactly_that_of_dave() {
    let key = SigningKey::generate();
    let mut member = Membership::new(UserId::new(0x0102_0304_0506_0708), ChannelId::new(9), &key, None);
    let bytes = member.key_package().unwrap().to_vec();
    assert_eq!(bytes[..4], [0, 1, 0, 2]);
    assert!((390..=394).contains(&bytes.len()), "{} bytes", bytes.len());
    let package = KeyPackage::parse(&bytes).unwrap();
    assert!(package.is_dave());
    assert_eq!(package.leaf.credential.identity, [1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(package.leaf.signature_key, key.public_key());
    assert_ne!(member.key_package().unwrap(), bytes);
}

struct Everybody;

impl Known for Everybody {
    fn is_here(&self, _: UserId) -> bool {
        true
    }

    fn was_here(&self, _: UserId) -> bool {
        true
    }

    fn count(&self) -> usize {
        100
    }
}

fn vector() -> (Case, Membership) {
    let file = load("passive_join");
    let key = SigningKey::from_bytes(&file.array("signature_private")).unwrap();
    let package = file.bytes("key_package");
    let leaf = KeyPackage::parse(&package).unwrap().leaf;
    assert_eq!(leaf.signature_key, key.public_key());
    assert!(
        Welcome::parse(&file.bytes("welcome"))
            .unwrap()
            .cut_for(&KeyPackage::parse(&package).unwrap().reference())
            .is_some()
    );
    let sender = file.bytes("external_sender");
    let member = Membership::new(file.id("user").into(), ChannelId::new(file.id("group")), &key, Some(&sender));
    member.engine.insert_key_package(&package, file.array("init_private"), file.array("encryption_private"));
    (file, member)
}

fn check(file: &Case, member: &mut Membership, field: &str, step: impl FnOnce(&mut Membership, &[u8])) {
    step(member, &file.bytes(field));
}

fn check_state(file: &Case, state: &str, member: &Membership) {
    let state = file.optional(state).unwrap();
    assert_eq!(member.epoch(), Some(state.number("epoch")));
    assert_eq!(member.epoch_authenticator().unwrap(), state.array("epoch_authenticator"));
    let secrets = state.hex_map("sender_base_secrets");
    assert_eq!(member.members().len(), secrets.len());
    for (user, secret) in secrets {
        let user = user.parse().unwrap();
        assert!(member.members().iter().any(|member| member.user == user));
        assert_eq!(member.base_secret(user).unwrap().expose()[..], secret);
    }
}
