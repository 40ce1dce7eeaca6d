//! What control tells a media half about the call's encryption.

use crate::BaseSecret;

/// In which form frames leave.
///
/// A value, not a shared session: control makes it and moves it into the sending half, which is then its only
/// owner. [`FrameSealer::set_mode`](crate::FrameSealer::set_mode) takes it.
#[derive(Debug, Default)]
pub enum SendMode {
    /// Nothing may leave: it is not known yet what the call demands, or there is no key yet.
    #[default]
    Hold,
    /// Frames leave without end-to-end encryption.
    Passthrough,
    /// Frames leave encrypted with the keys of this secret.
    Encrypt(BaseSecret),
}

/// What is accepted from one sender from now on.
///
/// [`FrameOpener::set_mode`](crate::FrameOpener::set_mode) takes it. Keys that are there already stay for as long
/// as each says.
#[derive(Debug, Default)]
pub enum ReceiveMode {
    /// Nothing is accepted in the clear, at once. Keys stay.
    #[default]
    Hold,
    /// The sender is in no group any more: keys run out in ten seconds. What is accepted in the clear stays as it is.
    Expire,
    /// Frames without end-to-end encryption are accepted. Keys run out in ten seconds.
    Passthrough,
    /// This is the sender's newest secret. Older ones run out in ten seconds, and so does what is accepted in the
    /// clear. A secret that is there already changes neither itself nor the others.
    Decrypt(BaseSecret),
}
