//! What is in `d`, by theme.

pub(crate) mod dave;
pub(crate) mod media;
pub(crate) mod members;
pub(crate) mod session;
pub(crate) mod speaking;
pub(crate) mod transport;
pub(crate) mod video;
pub(crate) mod wants;

use media::Codec;
use video::Stream;
