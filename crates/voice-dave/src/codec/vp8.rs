//! VP8 (RFC 7741, section 4.3).
#![deny(clippy::indexing_slicing)]

use super::Layout;

/// `None` when the frame is shorter than its header.
pub(super) fn lay_out(frame: &[u8], layout: &mut Layout<'_>) -> Option<()> {
    let is_key_frame = frame.first()? & 1 == 0;
    let (head, body) = frame.split_at_checked(if is_key_frame { KEY_FRAME_HEADER_LEN } else { 1 })?;
    layout.clear(head);
    layout.encrypted(body);
    Some(())
}

/// Frame tag, start code and size (RFC 7741, section 4.3).
const KEY_FRAME_HEADER_LEN: usize = 10;
