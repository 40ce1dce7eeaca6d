//! The bytes of a file, in front of every reader: a window to look ahead in, and a way to skip.

#![deny(clippy::indexing_slicing)]

use std::io::{self, ErrorKind, Read, Seek, SeekFrom};

use symphonia::core::io::MediaSource;

/// Where bytes come from.
trait Medium: Send + Sync {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize>;
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64>;
}

struct Seekable<M>(M);

impl<M: Read + Seek + Send + Sync> Medium for Seekable<M> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }

    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.0.seek(to)
    }
}

struct Forward<M>(M);

impl<M: Read + Send + Sync> Medium for Forward<M> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        self.0.read(out)
    }

    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(ErrorKind::Unsupported.into())
    }
}

/// A file from front to back, and back again where it can be sought.
pub(super) struct Bytes {
    medium: Box<dyn Medium>,
    /// What was read ahead, from `at` on.
    window: Vec<u8>,
    at: usize,
    /// The position of the next byte.
    pos: u64,
    /// Where the file ends, if it can be sought.
    len: Option<u64>,
}

impl Bytes {
    pub(super) fn seekable(mut media: impl Read + Seek + Send + Sync + 'static) -> io::Result<Self> {
        let len = media.seek(SeekFrom::End(0))?;
        media.rewind()?;
        Ok(Self { medium: Box::new(Seekable(media)), window: Vec::new(), at: 0, pos: 0, len: Some(len) })
    }

    pub(super) fn forward(media: impl Read + Send + Sync + 'static) -> Self {
        Self { medium: Box::new(Forward(media)), window: Vec::new(), at: 0, pos: 0, len: None }
    }

    pub(super) const fn pos(&self) -> u64 {
        self.pos
    }

    pub(super) const fn len(&self) -> Option<u64> {
        self.len
    }

    /// Bytes from here to the end, if that is known.
    pub(super) fn left(&self) -> Option<u64> {
        self.len.map(|len| len.saturating_sub(self.pos))
    }

    /// The next `count` bytes; fewer only at the end.
    pub(super) fn peek(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.window.len() - self.at < count {
            self.window.drain(..self.at);
            self.at = 0;
            let have = self.window.len();
            self.window.resize(have + READ_LEN.max(count - have).min(MAX_READ_LEN), 0);
            let read = loop {
                match self.medium.read(self.window.get_mut(have..).unwrap_or_default()) {
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    result => break result,
                }
            };
            let read = read.inspect_err(|_| self.window.truncate(have))?;
            self.window.truncate(have + read);
            if read == 0 {
                break;
            }
        }
        let ahead = self.window.get(self.at..).unwrap_or_default();
        Ok(ahead.get(..count).unwrap_or(ahead))
    }

    /// Passes over bytes that were looked at.
    pub(super) fn consume(&mut self, count: usize) {
        let count = count.min(self.window.len() - self.at);
        self.at += count;
        self.pos += count as u64;
    }

    /// Passes over `count` bytes, or to the end; nothing of them is kept.
    pub(super) fn skip(&mut self, mut count: u64) -> io::Result<()> {
        let buffered = (self.window.len() - self.at) as u64;
        if let Some(len) = self.len
            && count > buffered
        {
            return self.seek_to(self.pos.saturating_add(count).min(len));
        }
        while count > 0 {
            let step = self.peek(usize::try_from(count).unwrap_or(usize::MAX).min(READ_LEN))?.len();
            if step == 0 {
                break;
            }
            self.consume(step);
            count -= step as u64;
        }
        Ok(())
    }

    /// The next `count` bytes, or as many as there are. Memory grows with what is there, not with what is asked for.
    pub(super) fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        let mut taken = Vec::new();
        while taken.len() < count {
            let step = self.peek((count - taken.len()).min(READ_LEN))?;
            if step.is_empty() {
                break;
            }
            taken.extend_from_slice(step);
            let len = step.len();
            self.consume(len);
        }
        Ok(taken)
    }

    /// Goes to a position; an error where the file cannot be sought.
    pub(super) fn seek_to(&mut self, pos: u64) -> io::Result<()> {
        let ahead = (self.window.len() - self.at) as u64;
        if pos >= self.pos && pos - self.pos <= ahead {
            self.consume(usize::try_from(pos - self.pos).unwrap_or(0));
            return Ok(());
        }
        self.medium.seek(SeekFrom::Start(pos))?;
        self.window.clear();
        self.at = 0;
        self.pos = pos;
        Ok(())
    }

    /// The last `count` bytes of a file that can be sought, or all there is.
    pub(super) fn tail(&mut self, count: u64) -> io::Result<Vec<u8>> {
        let Some(len) = self.len else {
            return Ok(Vec::new());
        };
        let back = self.pos;
        self.seek_to(len.saturating_sub(count))?;
        let tail = self.take(usize::try_from(count).unwrap_or(usize::MAX));
        self.seek_to(back)?;
        tail
    }
}

impl Read for Bytes {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let ahead = self.peek(out.len().min(READ_LEN))?;
        let len = ahead.len().min(out.len());
        if let (Some(to), Some(from)) = (out.get_mut(..len), ahead.get(..len)) {
            to.copy_from_slice(from);
        }
        self.consume(len);
        Ok(len)
    }
}

impl Seek for Bytes {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let base = match to {
            SeekFrom::Start(pos) => Some(pos),
            SeekFrom::Current(by) => self.pos.checked_add_signed(by),
            SeekFrom::End(by) => self.len.and_then(|len| len.checked_add_signed(by)),
        };
        self.seek_to(base.ok_or(ErrorKind::InvalidInput)?)?;
        Ok(self.pos)
    }
}

impl MediaSource for Bytes {
    fn is_seekable(&self) -> bool {
        self.len.is_some()
    }

    fn byte_len(&self) -> Option<u64> {
        self.len
    }
}

/// Bytes behind others that were read already, or are mended; they are read from front to back.
pub(super) struct Behind {
    head: io::Cursor<Vec<u8>>,
    rest: Bytes,
}

impl Behind {
    pub(super) const fn new(head: Vec<u8>, rest: Bytes) -> Self {
        Self { head: io::Cursor::new(head), rest }
    }
}

impl Read for Behind {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self.head.read(out)? {
            0 => self.rest.read(out),
            read => Ok(read),
        }
    }
}

impl Seek for Behind {
    fn seek(&mut self, _: SeekFrom) -> io::Result<u64> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl MediaSource for Behind {
    fn is_seekable(&self) -> bool {
        false
    }

    fn byte_len(&self) -> Option<u64> {
        None
    }
}

/// Bytes read at a time.
const READ_LEN: usize = 32 * 1024;
/// The window grows by no more at once, whatever is asked for.
const MAX_READ_LEN: usize = 256 * 1024;

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn contents() -> Vec<u8> {
        (0..200_000u32).map(|n| (n % 251) as u8).collect()
    }

    #[test]
    fn both_kinds_of_input_read_skip_and_look_ahead_alike() {
        let all = contents();
        let mut kinds =
            [Bytes::seekable(io::Cursor::new(all.clone())).unwrap(), Bytes::forward(io::Cursor::new(all.clone()))];
        for bytes in &mut kinds {
            assert_eq!(bytes.peek(10).unwrap(), &all[..10]);
            bytes.skip(100_001).unwrap();
            assert_eq!(bytes.pos(), 100_001);
            assert_eq!(bytes.take(40_000).unwrap(), &all[100_001..140_001]);
            bytes.skip(1 << 40).unwrap();
            assert!(bytes.peek(1).unwrap().is_empty());
        }
        let [mut sought, _] = kinds;
        sought.seek_to(7).unwrap();
        assert_eq!(sought.tail(5).unwrap(), &all[all.len() - 5..]);
        assert_eq!(sought.peek(3).unwrap(), &all[7..10]);
    }
}
