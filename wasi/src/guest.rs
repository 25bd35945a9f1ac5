//! A program's memory as host functions see it: every access checked, none of it aliased.
//!
//! Addresses and lengths are 64-bit, so that nothing overflows for 32-bit memories and 64-bit ones fit. What is written is
//! written byte by byte from values, never from a Rust structure, so that no padding carries bytes of the host.

use std::io::{IoSlice, IoSliceMut};

use smallvec::SmallVec;

use crate::errno::Errno;
use crate::types::size;

/// Elements of a scatter or gather list that need no allocation.
const INLINE_IOVECS: usize = 16;

/// A gather list: what a program asked to be written.
pub(crate) type Gather<'m> = SmallVec<[IoSlice<'m>; INLINE_IOVECS]>;

/// A scatter list: where a program asked data to be read to.
pub(crate) type Scatter<'m> = SmallVec<[IoSliceMut<'m>; INLINE_IOVECS]>;

/// The memory of the program that called, for the length of one host function.
pub struct GuestMemory<'a> {
    bytes: &'a mut [u8],
}

impl<'a> GuestMemory<'a> {
    /// Wraps a memory.
    #[inline]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { bytes }
    }

    /// The range as indices.
    #[inline]
    fn range(&self, pointer: u64, len: u64) -> Result<std::ops::Range<usize>, Errno> {
        let end = pointer.checked_add(len).ok_or(Errno::FAULT)?;
        if end > self.bytes.len() as u64 {
            return Err(Errno::FAULT);
        }
        // Both are at most the length of a slice.
        Ok(pointer as usize..end as usize)
    }

    /// Whether `len` bytes at `pointer` are memory. Functions ask this of their results before they do anything that
    /// cannot be undone.
    ///
    /// # Errors
    ///
    /// `FAULT`, as for everything here.
    #[inline]
    pub fn check(&self, pointer: u64, len: u64) -> Result<(), Errno> {
        self.range(pointer, len).map(drop)
    }

    /// `len` bytes at `pointer`.
    ///
    /// # Errors
    ///
    /// `FAULT` if they are not all memory.
    #[inline]
    pub fn slice(&self, pointer: u64, len: u64) -> Result<&[u8], Errno> {
        let range = self.range(pointer, len)?;
        self.bytes.get(range).ok_or(Errno::FAULT)
    }

    /// `len` bytes at `pointer`, to be changed.
    ///
    /// # Errors
    ///
    /// `FAULT` if they are not all memory.
    #[inline]
    pub fn slice_mut(&mut self, pointer: u64, len: u64) -> Result<&mut [u8], Errno> {
        let range = self.range(pointer, len)?;
        self.bytes.get_mut(range).ok_or(Errno::FAULT)
    }

    #[inline]
    fn array<const N: usize>(&self, pointer: u64) -> Result<[u8; N], Errno> {
        self.slice(pointer, N as u64)?.try_into().map_err(|_| Errno::FAULT)
    }

    /// The byte at `pointer`.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn read_u8(&self, pointer: u64) -> Result<u8, Errno> {
        self.array::<1>(pointer).map(|[byte]| byte)
    }

    /// The 16-bit number at `pointer`, aligned or not.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn read_u16(&self, pointer: u64) -> Result<u16, Errno> {
        self.array(pointer).map(u16::from_le_bytes)
    }

    /// The 32-bit number at `pointer`, aligned or not.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn read_u32(&self, pointer: u64) -> Result<u32, Errno> {
        self.array(pointer).map(u32::from_le_bytes)
    }

    /// The 64-bit number at `pointer`, aligned or not.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn read_u64(&self, pointer: u64) -> Result<u64, Errno> {
        self.array(pointer).map(u64::from_le_bytes)
    }

    /// Copies `bytes` to `pointer`.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory; then nothing is written.
    #[inline]
    pub fn write(&mut self, pointer: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.slice_mut(pointer, bytes.len() as u64)?.copy_from_slice(bytes);
        Ok(())
    }

    /// Writes a 32-bit number.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn write_u32(&mut self, pointer: u64, value: u32) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// Writes a 64-bit number.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn write_u64(&mut self, pointer: u64, value: u64) -> Result<(), Errno> {
        self.write(pointer, &value.to_le_bytes())
    }

    /// The iovec at `pointer`: where, and how many bytes.
    #[inline]
    fn iovec(&self, pointer: u64) -> Result<(u64, u64), Errno> {
        let [a, b, c, d, e, f, g, h] = self.array::<8>(pointer)?;
        Ok((u32::from_le_bytes([a, b, c, d]).into(), u32::from_le_bytes([e, f, g, h]).into()))
    }

    /// The only buffer of a list of one, which is what most calls pass.
    #[inline]
    pub(crate) fn single(&self, iovecs: u64) -> Result<&[u8], Errno> {
        let (pointer, len) = self.iovec(iovecs)?;
        self.slice(pointer, len)
    }

    /// As [`single`](Self::single), to be filled.
    #[inline]
    pub(crate) fn single_mut(&mut self, iovecs: u64) -> Result<&mut [u8], Errno> {
        let (pointer, len) = self.iovec(iovecs)?;
        self.slice_mut(pointer, len)
    }

    /// Checks the bounds of a list before anything of it is looked at.
    fn list(&self, iovecs: u64, count: u64, limit: usize) -> Result<(), Errno> {
        if count > limit as u64 {
            return Err(Errno::INVAL);
        }
        self.check(iovecs, count * size::IOVEC)
    }

    /// The buffers to write from. They may overlap.
    pub(crate) fn gather(&self, iovecs: u64, count: u64, limit: usize) -> Result<Gather<'_>, Errno> {
        self.list(iovecs, count, limit)?;
        let mut list = Gather::new();
        for index in 0..count {
            list.push(IoSlice::new(self.single(iovecs + index * size::IOVEC)?));
        }
        Ok(list)
    }

    /// The buffers to read into.
    ///
    /// Buffers that overlap cannot be borrowed at once. No sane program passes any; for one that does, the list ends
    /// at its first buffer, and the short read that results is one that the specification allows.
    pub(crate) fn scatter(&mut self, iovecs: u64, count: u64, limit: usize) -> Result<Scatter<'_>, Errno> {
        self.list(iovecs, count, limit)?;
        let mut spans: SmallVec<[(usize, std::ops::Range<usize>); INLINE_IOVECS]> = SmallVec::new();
        for index in 0..count {
            let (pointer, len) = self.iovec(iovecs + index * size::IOVEC)?;
            let range = self.range(pointer, len)?;
            if !range.is_empty() {
                spans.push((spans.len(), range));
            }
        }
        let mut list: Scatter<'_> = (0..spans.len()).map(|_| IoSliceMut::new(&mut [])).collect();
        spans.sort_unstable_by_key(|(_, range)| range.start);
        if spans.windows(2).any(|pair| pair[0].1.end > pair[1].1.start) {
            spans.retain(|(index, _)| *index == 0);
            list.truncate(1);
        }
        let mut rest = &mut *self.bytes;
        let mut at = 0;
        for (index, range) in spans {
            let (_, tail) = std::mem::take(&mut rest).split_at_mut(range.start - at);
            let (buffer, tail) = tail.split_at_mut(range.len());
            list[index] = IoSliceMut::new(buffer);
            at = range.end;
            rest = tail;
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_iovecs(bytes: &mut [u8], iovecs: &[(u32, u32)]) {
        for (index, (pointer, len)) in iovecs.iter().enumerate() {
            bytes[index * 8..index * 8 + 4].copy_from_slice(&pointer.to_le_bytes());
            bytes[index * 8 + 4..index * 8 + 8].copy_from_slice(&len.to_le_bytes());
        }
    }

    #[test]
    fn no_pointer_overflows() {
        let mut bytes = [0; 16];
        let mut memory = GuestMemory::new(&mut bytes);
        for (pointer, len) in [(u64::MAX, 1), (u64::MAX, u64::MAX), (1, u64::MAX), (16, 1), (17, 0), (9, 8), (1 << 32, 0)] {
            assert_eq!(memory.slice(pointer, len), Err(Errno::FAULT), "{pointer} {len}");
            assert_eq!(memory.slice_mut(pointer, len), Err(Errno::FAULT));
            assert_eq!(memory.check(pointer, len), Err(Errno::FAULT));
        }
        assert_eq!(memory.slice(16, 0), Ok(&[][..]));
        assert_eq!(memory.write_u32(13, 1), Err(Errno::FAULT));
        assert_eq!(memory.read_u64(u64::MAX - 3), Err(Errno::FAULT));
        assert_eq!(memory.write_u64(8, 7), Ok(()));
        assert_eq!(memory.read_u64(8), Ok(7));
        assert_eq!(memory.read_u16(8), Ok(7));
        assert_eq!(memory.read_u8(8), Ok(7));
    }

    #[test]
    fn scatter_lists_keep_their_order() {
        let mut bytes = [0; 64];
        with_iovecs(&mut bytes, &[(50, 2), (40, 3), (0, 0), (60, 4)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let mut list = memory.scatter(0, 4, 1024).unwrap();
        assert_eq!(list.iter().map(|buffer| buffer.len()).collect::<Vec<_>>(), [2, 3, 4]);
        list[0].fill(1);
        list[1].fill(2);
        list[2].fill(3);
        drop(list);
        assert_eq!(bytes[50..52], [1, 1]);
        assert_eq!(bytes[40..43], [2, 2, 2]);
        assert_eq!(bytes[60..64], [3; 4]);
    }

    #[test]
    fn overlapping_scatter_lists_end_at_their_first_buffer() {
        let mut bytes = [0; 64];
        with_iovecs(&mut bytes, &[(44, 4), (40, 5)]);
        let mut memory = GuestMemory::new(&mut bytes);
        let list = memory.scatter(0, 2, 1024).unwrap();
        assert_eq!(list.iter().map(|buffer| buffer.len()).collect::<Vec<_>>(), [4]);
    }

    #[test]
    fn lists_are_bounded() {
        let mut bytes = [0; 64];
        with_iovecs(&mut bytes, &[(40, 4), (62, 3)]);
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.gather(0, 1025, 1024).unwrap_err(), Errno::INVAL);
        assert_eq!(memory.gather(0, u64::MAX, 1024).unwrap_err(), Errno::INVAL);
        assert_eq!(memory.gather(0, 9, 1024).unwrap_err(), Errno::FAULT);
        assert_eq!(memory.gather(0, 2, 1024).unwrap_err(), Errno::FAULT);
        assert_eq!(memory.scatter(0, 2, 1024).unwrap_err(), Errno::FAULT);
        assert_eq!(memory.scatter(u64::MAX, 2, 1024).unwrap_err(), Errno::FAULT);
        assert_eq!(memory.gather(0, 1, 1024).unwrap().len(), 1);
        assert!(memory.gather(0, 0, 1024).unwrap().is_empty());
    }
}
