//! The room for one packet's body.

use core::mem;

use super::WriteError;

/// The body of a packet that is being written.
pub(super) struct Body<'b> {
    rest: &'b mut [u8],
    written: usize,
}

impl<'b> Body<'b> {
    pub(super) const fn new(room: &'b mut [u8]) -> Self {
        Self { rest: room, written: 0 }
    }

    /// How many bytes there are.
    pub(super) const fn written(&self) -> usize {
        self.written
    }

    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.take(bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    pub(super) fn zeros(&mut self, len: usize) -> Result<(), WriteError> {
        self.take(len)?.fill(0);
        Ok(())
    }

    /// Puts as much padding, whose last byte says how much it is.
    pub(super) fn padding(&mut self, len: u8) -> Result<(), WriteError> {
        let Some(zeros) = len.checked_sub(1) else { return Ok(()) };
        self.zeros(usize::from(zeros))?;
        self.put(&[len])
    }

    /// Puts entries of which there must be one.
    pub(super) fn put_all<const N: usize>(
        &mut self,
        entries: impl Iterator<Item = Result<[u8; N], WriteError>>,
    ) -> Result<(), WriteError> {
        let start = self.written;
        for entry in entries {
            self.put(&entry?)?;
        }
        if self.written == start { Err(WriteError::Empty) } else { Ok(()) }
    }

    fn take(&mut self, len: usize) -> Result<&'b mut [u8], WriteError> {
        let (taken, rest) = mem::take(&mut self.rest).split_at_mut_checked(len).ok_or(WriteError::NoRoom)?;
        self.rest = rest;
        self.written += len;
        Ok(taken)
    }
}
