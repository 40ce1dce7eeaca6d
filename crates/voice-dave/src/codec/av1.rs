//! AV1's open bitstream units (AV1 bitstream specification, section 5.3).
#![deny(clippy::indexing_slicing)]

use super::Layout;
use crate::frame::uleb128;

/// `None` when the frame is not a sequence of whole units.
pub(super) fn lay_out(frame: &[u8], layout: &mut Layout<'_>) -> Option<()> {
    let mut kept = 0;
    for unit in Units(frame) {
        kept += usize::from(unit?.is_kept());
    }
    for unit in Units(frame).flatten().filter(Unit::is_kept) {
        kept -= 1;
        // The trailer follows the last unit, so that one must not say where it ends.
        let sized = unit.sized && kept > 0;
        layout.clear(&[if sized { unit.header } else { unit.header & !HAS_SIZE }]);
        layout.clear(unit.extension);
        if sized {
            let mut size = [0; uleb128::MAX_LEN];
            let used = uleb128::write(unit.payload.len() as u64, &mut size)?;
            layout.clear(size.get(..used)?);
        }
        layout.encrypted(unit.payload);
    }
    Some(())
}

struct Unit<'a> {
    header: u8,
    extension: &'a [u8],
    sized: bool,
    payload: &'a [u8],
}

impl Unit<'_> {
    /// Packetizers drop the others (RTP payload format for AV1, section 5).
    const fn is_kept(&self) -> bool {
        !matches!((self.header & TYPE) >> 3, TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }
}

/// Reads units; `None` where one is broken.
struct Units<'a>(&'a [u8]);

impl<'a> Units<'a> {
    fn unit(&mut self) -> Option<Unit<'a>> {
        let (&header, rest) = self.0.split_first()?;
        let (extension, rest) = rest.split_at_checked(usize::from(header & HAS_EXTENSION != 0))?;
        let sized = header & HAS_SIZE != 0;
        if rest.is_empty() {
            return None;
        }
        let (payload, rest) = if sized {
            let (size, used) = uleb128::read(rest)?;
            rest.get(used..)?.split_at_checked(usize::try_from(size).ok()?)?
        } else {
            (rest, &[][..])
        };
        self.0 = rest;
        Some(Unit { header, extension, sized, payload })
    }
}

impl<'a> Iterator for Units<'a> {
    type Item = Option<Unit<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let unit = self.unit();
        if unit.is_none() {
            self.0 = &[];
        }
        Some(unit)
    }
}

const TYPE: u8 = 0b0111_1000;
const HAS_EXTENSION: u8 = 0b100;
const HAS_SIZE: u8 = 0b10;
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;
