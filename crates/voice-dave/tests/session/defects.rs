//! Defects that other libraries have, by their row, as far as no other test is about them.

use voice_dave::{BaseSecret, DaveOutput, FrameOpener, FrameSealer, Media, ReceiveMode, SendMode};
use voice_model::UserId;

use crate::call::{Call, Client, Gateway, Step, split, start};

/// D4: in a call that is encrypted nothing leaves and nothing is accepted in the clear, however far the group is.
#[test]
fn d4_nothing_is_in_the_clear_from_the_first_message_of_an_encrypted_call_on() {
    let gateway = Gateway::new();
    let mut clients = [1, 2].map(Client::new);
    let check = |clients: &mut [Client; 2]| {
        for client in clients {
            client.later(1);
            assert_ne!(client.speak().as_deref(), Some(&b"audio"[..]));
            for user in [1, 2, 3] {
                assert!(!client.hears(UserId::new(user), b"audio"));
            }
        }
    };
    check(&mut clients);
    for (client, other) in clients.iter_mut().zip([2, 1]) {
        client.describe(1);
        client.external_sender(&gateway.sender());
        client.connect(&[other]);
    }
    check(&mut clients);
    let [one, two] = &mut clients;
    one.append(&[gateway.add(0, &two.take_key_package())]);
    let (commit, welcome) = split(&one.take_commit().unwrap());
    one.announce(1, &commit);
    two.welcome(1, &welcome.unwrap());
    check(&mut clients);
    for client in &mut clients {
        client.execute(1);
    }
    check(&mut clients);
    // A commit that nobody understands, and then everybody leaves.
    clients[0].announce(2, b"nonsense");
    check(&mut clients);
    clients[1].disconnect(1);
    clients[1].epoch(1);
    clients[1].prepare(0, 1);
    check(&mut clients);
}

/// D5: a version is not said before the keys that belong to it are given out.
#[test]
fn d5_a_version_is_in_force_when_its_keys_are_and_not_before() {
    let mut call = Call::with_members([1, 2]);
    let client = call.client(1);
    let active = |client: &Client| client.session.status().active_version;
    client.take();
    client.prepare(8, 0);
    assert_eq!(active(client), Some(1));
    assert!(!client.take().iter().any(|step| matches!(step, Step::Send(_))));
    client.execute(8);
    assert_eq!((active(client), client.take().first()), (Some(0), Some(&Step::Send("passthrough"))));
    client.epoch(1);
    assert_eq!(active(client), Some(0), "frames still leave in the clear");
    assert!(!client.take().iter().any(|step| matches!(step, Step::Send(_))));
    client.prepare(0, 1);
    assert_eq!(active(client), Some(1));
    assert_eq!(client.take().last(), Some(&Step::Send("hold")), "alone");
}

/// D7: what is printed of everything that has a secret, also after it was used.
#[test]
fn d7_no_secret_is_printed() {
    let secret =
        || BaseSecret::new([0xA7, 0x3C, 0x51, 0xE9, 0xA7, 0x3C, 0x51, 0xE9, 0xA7, 0x3C, 0x51, 0xE9, 1, 2, 3, 4]);
    let (mut sealer, mut opener) = (FrameSealer::new(), FrameOpener::new());
    sealer.set_mode(SendMode::Encrypt(secret()));
    opener.set_mode(start(), ReceiveMode::Decrypt(secret()));
    let mut buffer = [0; 64];
    let len = sealer.seal(&mut buffer, 20).unwrap();
    opener.open(start(), Media::Audio, &mut buffer[..len]).unwrap();
    let receive = DaveOutput::Receive { user: UserId::new(1), mode: ReceiveMode::Decrypt(secret()) };
    let printed = format!(
        "{:?} {:#?} {:?} {receive:#?} {sealer:?} {sealer:#?} {opener:?} {opener:#?}",
        SendMode::Encrypt(secret()),
        SendMode::Encrypt(secret()),
        DaveOutput::Send(SendMode::Encrypt(secret())),
    );
    let printed: String = printed.split_whitespace().collect::<String>().to_lowercase();
    assert!(printed.contains("basesecret([..])"));
    for part in ["167,60", "a73c", "a7,3c", "51e9", "81,233"] {
        assert!(!printed.contains(part), "{part} in {printed}");
    }
}

/// S10: a frame needs nothing that the work of the group has in its hands.
#[test]
fn s10_frames_are_sealed_and_opened_while_the_group_computes() {
    let mut call = Call::with_members([1, 2]);
    let mut sealer = std::mem::take(&mut call.client(1).sealer);
    // Keeps the openers as they are; the session goes on in the call.
    let mut listener = std::mem::replace(call.client(2), Client::new(2));
    std::mem::swap(&mut listener.session, &mut call.client(2).session);
    std::thread::scope(|scope| {
        let working = scope.spawn(|| {
            for user in 3..=12 {
                call.connect(user);
                call.run();
            }
        });
        let mut frames = 0;
        while !working.is_finished() || frames == 0 {
            let mut buffer = [0; 64];
            buffer[..5].copy_from_slice(b"audio");
            // Newer keys wait for whoever runs the call to bring them: no frame waits for them.
            let len = sealer.seal(&mut buffer, 5).expect("the key of before");
            assert!(buffer[..len] != *b"audio");
            assert!(listener.hears(UserId::new(1), &buffer[..len]), "frame {frames}");
            frames += 1;
            std::thread::yield_now();
        }
        working.join().unwrap();
    });
    call.assert_together();
}
