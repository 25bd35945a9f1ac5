//! Arguments and environment in the form in which programs ask for them: one block of NUL-terminated strings.
//!
//! The block is laid out when the context is built, so that the functions only copy, and the sizes are two fields.

use crate::errno::Errno;
use crate::guest::GuestMemory;

/// Strings and where each of them starts.
#[derive(Default)]
pub(crate) struct Strings {
    block: Vec<u8>,
    starts: Vec<u32>,
}

impl Strings {
    /// Adds a string; false if it holds a NUL or the block would outgrow 32 bits.
    #[must_use]
    pub(crate) fn push(&mut self, parts: &[&[u8]]) -> bool {
        let Ok(start) = u32::try_from(self.block.len()) else { return false };
        let len = parts.iter().map(|part| part.len()).sum::<usize>() + 1;
        if parts.iter().any(|part| part.contains(&0)) || u32::try_from(self.block.len() + len).is_err() {
            return false;
        }
        self.starts.push(start);
        for part in parts {
            self.block.extend_from_slice(part);
        }
        self.block.push(0);
        true
    }

    /// Writes how many strings there are and how many bytes they take.
    #[inline]
    pub(crate) fn write_sizes(&self, mem: &mut GuestMemory<'_>, count: u64, bytes: u64) -> Result<(), Errno> {
        mem.write_size(count, self.starts.len() as u64)?;
        mem.write_size(bytes, self.block.len() as u64)
    }

    /// Writes the block to `block`, and a pointer to each string to the array at `pointers`.
    pub(crate) fn write(&self, mem: &mut GuestMemory<'_>, pointers: u64, block: u64) -> Result<(), Errno> {
        mem.check(pointers, self.starts.len() as u64 * mem.pointer_size())?;
        mem.write(block, &self.block)?;
        for (index, start) in self.starts.iter().enumerate() {
            // The block is in memory, so its addresses do not overflow.
            mem.write_size(pointers + index as u64 * mem.pointer_size(), block + u64::from(*start))?;
        }
        Ok(())
    }
}
