//! A voice server that ends a session and leaves it to the main gateway to say why.

mod common;

use std::{future::IntoFuture as _, time::Duration};

use common::{ALICE, BOB, Counted, GUILD, capacity, driver, info, join, next_sound, server, within};
use discord_voice::{Advice, Cause, Config, Driver, EndReason, Event, Events, model::CloseCode};

const CLOSED: Cause = Cause::Closed(CloseCode::DISCONNECTED);

async fn until(events: &mut Events, wanted: impl Fn(&Event) -> bool) {
    while !wanted(&within(events.next()).await.expect("the call goes on")) {}
}

#[tokio::test(flavor = "multi_thread")]
async fn w11_a_call_waits_for_another_server_and_goes_on_there() {
    let server = server().await;
    let driver = driver(&server);
    let (listener, _listener_events) = join(&server, &driver, BOB).await;
    let mut heard = listener.receive(capacity(500));
    let (client, mut events) = join(&server, &driver, ALICE).await;
    let playback = client.play(Counted::new(100_000));
    next_sound(&mut heard).await;
    until(&mut events, |event| matches!(event, Event::Connected)).await;

    server.close_voice(ALICE, CloseCode::DISCONNECTED);
    until(&mut events, |event| matches!(event, Event::Released(CLOSED))).await;
    assert!(!client.is_ended());
    client.update(info(&server, GUILD, ALICE));
    until(&mut events, |event| matches!(event, Event::Connected)).await;
    let position = u32::try_from(playback.position().as_millis() / 20).expect("short");
    loop {
        let (_, frame) = next_sound(&mut heard).await;
        let number = frame.last_chunk().copied().map(u32::from_be_bytes).expect("a number");
        if number > position {
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_that_no_server_is_named_for_ends() {
    let server = server().await;
    let mut config = Config::default();
    config.follow_timeout = Duration::from_millis(200);
    let driver = Driver::new(config).expect("media threads");
    let (client, mut events) = within(driver.connect(info(&server, GUILD, ALICE)).into_future()).await.expect("a call");
    server.close_voice(ALICE, CloseCode::DISCONNECTED);
    let reason = EndReason::Session { cause: CLOSED, advice: Advice::Wait };
    until(&mut events, |event| matches!(event, Event::Ended(ended) if *ended == reason)).await;
    assert_eq!(within(client.ended()).await, reason);
}

#[tokio::test(flavor = "multi_thread")]
async fn leaving_needs_no_word_of_the_main_gateway() {
    let server = server().await;
    let driver = driver(&server);
    let (client, mut events) = join(&server, &driver, ALICE).await;
    server.close_voice(ALICE, CloseCode::DISCONNECTED);
    until(&mut events, |event| matches!(event, Event::Released(CLOSED))).await;
    within(client.leave()).await.expect("left");
    until(&mut events, |event| matches!(event, Event::Ended(EndReason::Left))).await;
}
