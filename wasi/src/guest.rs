//! A program's memory as host functions see it: every access checked, none of it aliased.
//!
//! Addresses and lengths are 64-bit, so that nothing overflows for 32-bit memories and 64-bit ones fit. What is read is
//! copied out before it is looked at, and no Rust reference to the memory exists: other threads of the program may write to
//! it at any time. What is written is written byte by byte from values, never from a Rust structure, so that no padding
//! carries bytes of the host. Buffers go to the kernel as addresses, which it reads and fills itself.

#![allow(unsafe_code, reason = "the memory is reached by address; every access goes through `range`")]

use std::marker::PhantomData;

use smallvec::SmallVec;

use crate::errno::Errno;
use crate::limits::PATH_BYTES;

/// Elements of a scatter or gather list that need no allocation.
const INLINE_IOVECS: usize = 16;

/// Bytes that are moved at once between the memory and what is no descriptor of the host.
pub(crate) const COPY_CHUNK: usize = 64 << 10;

/// A piece of the memory, in bounds.
#[derive(Clone, Copy)]
pub(crate) struct Region<'m> {
    base: *mut u8,
    len: usize,
    memory: PhantomData<&'m u8>,
}

/// Pieces of the memory, to be read from or written to in this order. They may overlap.
pub(crate) type Regions<'m> = SmallVec<[Region<'m>; INLINE_IOVECS]>;

/// A path, copied.
pub(crate) type PathBytes = SmallVec<[u8; 256]>;

impl Region<'_> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn as_ptr(&self) -> *mut u8 {
        self.base
    }

    /// Copies out what is at `at`, as much as there is of it and room for it.
    pub(crate) fn copy_out(&self, at: usize, to: &mut [u8]) -> usize {
        let len = to.len().min(self.len.saturating_sub(at));
        // SAFETY: `GuestMemory::region` made the region inside the memory, and `at + len` is inside the region.
        unsafe { std::ptr::copy(self.base.wrapping_add(at), to.as_mut_ptr(), len) };
        len
    }

    /// Copies to the place `at`, as much as there is room for.
    pub(crate) fn copy_in(&self, at: usize, from: &[u8]) -> usize {
        let len = from.len().min(self.len.saturating_sub(at));
        // SAFETY: as for `copy_out`.
        unsafe { std::ptr::copy(from.as_ptr(), self.base.wrapping_add(at), len) };
        len
    }
}

/// The bytes of a list.
pub(crate) fn total(regions: &[Region<'_>]) -> u64 {
    regions.iter().map(|region| region.len as u64).fold(0, u64::saturating_add)
}

/// The memory of the program that called, for the length of one host function.
pub struct GuestMemory<'a> {
    base: *mut u8,
    len: u64,
    /// Whether its addresses and sizes are 64-bit.
    wide: bool,
    memory: PhantomData<&'a mut [u8]>,
}

impl<'a> GuestMemory<'a> {
    /// Wraps a memory with 32-bit addresses.
    #[inline]
    pub fn new(bytes: &'a mut [u8]) -> Self {
        Self { base: bytes.as_mut_ptr(), len: bytes.len() as u64, wide: false, memory: PhantomData }
    }

    /// Wraps a memory that other threads may use at the same time.
    ///
    /// # Safety
    ///
    /// `len` bytes at `base` stay readable and writable during `'a`, and no Rust reference to them exists meanwhile.
    #[inline]
    pub unsafe fn from_raw(base: *mut u8, len: usize) -> Self {
        Self { base, len: len as u64, wide: false, memory: PhantomData }
    }

    /// The same memory for a program with 64-bit addresses: pointers and sizes in its structures take 8 bytes.
    #[inline]
    #[must_use]
    pub fn with_64_bit_addresses(self) -> Self {
        Self { wide: true, ..self }
    }

    /// Bytes that a pointer or a size takes.
    #[inline]
    pub(crate) fn pointer_size(&self) -> u64 {
        if self.wide { 8 } else { 4 }
    }

    /// Where `len` bytes at `pointer` start on the host.
    #[inline]
    fn range(&self, pointer: u64, len: u64) -> Result<*mut u8, Errno> {
        let end = pointer.checked_add(len).ok_or(Errno::FAULT)?;
        if end > self.len {
            return Err(Errno::FAULT);
        }
        // At most the length of the memory, which is a `usize`.
        Ok(self.base.wrapping_add(pointer as usize))
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

    /// Whether a result of the size of a pointer fits at `pointer`.
    #[inline]
    pub(crate) fn check_size(&self, pointer: u64) -> Result<(), Errno> {
        self.check(pointer, self.pointer_size())
    }

    /// `len` bytes at `pointer`.
    #[inline]
    pub(crate) fn region(&self, pointer: u64, len: u64) -> Result<Region<'_>, Errno> {
        // In bounds, so it fits.
        Ok(Region { base: self.range(pointer, len)?, len: len as usize, memory: PhantomData })
    }

    /// Copies `into.len()` bytes at `pointer`.
    ///
    /// # Errors
    ///
    /// `FAULT` if they are not all memory.
    #[inline]
    pub fn read(&self, pointer: u64, into: &mut [u8]) -> Result<(), Errno> {
        self.region(pointer, into.len() as u64)?.copy_out(0, into);
        Ok(())
    }

    /// Copies a path. One that the host would not take is `NAMETOOLONG`, and not copied.
    pub(crate) fn path(&self, pointer: u64, len: u64, limit: usize) -> Result<PathBytes, Errno> {
        let region = self.region(pointer, len)?;
        if region.len > limit.min(PATH_BYTES) {
            return Err(Errno::NAMETOOLONG);
        }
        let mut path = PathBytes::from_elem(0, region.len);
        region.copy_out(0, &mut path);
        Ok(path)
    }

    #[inline]
    fn array<const N: usize>(&self, pointer: u64) -> Result<[u8; N], Errno> {
        let from = self.range(pointer, N as u64)?;
        // SAFETY: `range` has checked that the bytes are memory, and an array of bytes has no alignment.
        Ok(unsafe { from.cast::<[u8; N]>().read() })
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

    /// The pointer or size at `pointer`.
    #[inline]
    pub(crate) fn read_size(&self, pointer: u64) -> Result<u64, Errno> {
        if self.wide { self.read_u64(pointer) } else { self.read_u32(pointer).map(u64::from) }
    }

    /// Copies `bytes` to `pointer`.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory; then nothing is written.
    #[inline]
    pub fn write(&mut self, pointer: u64, bytes: &[u8]) -> Result<(), Errno> {
        self.region(pointer, bytes.len() as u64)?.copy_in(0, bytes);
        Ok(())
    }

    #[inline]
    fn put<const N: usize>(&mut self, pointer: u64, bytes: [u8; N]) -> Result<(), Errno> {
        let to = self.range(pointer, N as u64)?;
        // SAFETY: as for `array`.
        unsafe { to.cast::<[u8; N]>().write(bytes) };
        Ok(())
    }

    /// Writes a 32-bit number.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn write_u32(&mut self, pointer: u64, value: u32) -> Result<(), Errno> {
        self.put(pointer, value.to_le_bytes())
    }

    /// Writes a 64-bit number.
    ///
    /// # Errors
    ///
    /// `FAULT` outside memory.
    #[inline]
    pub fn write_u64(&mut self, pointer: u64, value: u64) -> Result<(), Errno> {
        self.put(pointer, value.to_le_bytes())
    }

    /// Writes a size or an address; `OVERFLOW` where the program's do not hold it.
    #[inline]
    pub(crate) fn write_size(&mut self, pointer: u64, value: u64) -> Result<(), Errno> {
        if self.wide {
            return self.write_u64(pointer, value);
        }
        self.write_u32(pointer, u32::try_from(value).map_err(|_| Errno::OVERFLOW)?)
    }

    /// The iovec at `pointer`.
    #[inline(always)]
    pub(crate) fn iovec(&self, pointer: u64) -> Result<Region<'_>, Errno> {
        let (at, len) = if self.wide {
            self.check(pointer, 16)?;
            (self.read_u64(pointer)?, self.read_u64(pointer + 8)?)
        } else {
            let both = self.read_u64(pointer)?;
            (both & u64::from(u32::MAX), both >> 32)
        };
        self.region(at, len)
    }

    /// The buffers of a scatter or gather list, its bounds checked before anything of it is looked at.
    pub(crate) fn iovecs(&self, iovecs: u64, count: u64, limit: usize) -> Result<Regions<'_>, Errno> {
        if count > limit as u64 {
            return Err(Errno::INVAL);
        }
        let size = 2 * self.pointer_size();
        self.check(iovecs, count * size)?;
        (0..count).map(|index| self.iovec(iovecs + index * size)).collect()
    }

    /// For tests, whose memories nobody else uses.
    #[cfg(test)]
    pub(crate) fn slice(&self, pointer: u64, len: u64) -> Result<&[u8], Errno> {
        let region = self.region(pointer, len)?;
        // SAFETY: tests wrap vectors, which the memory borrows uniquely.
        Ok(unsafe { std::slice::from_raw_parts(region.base, region.len) })
    }

    /// As [`slice`](Self::slice), to be changed.
    #[cfg(test)]
    pub(crate) fn slice_mut(&mut self, pointer: u64, len: u64) -> Result<&mut [u8], Errno> {
        let region = self.region(pointer, len)?;
        // SAFETY: as for `slice`.
        Ok(unsafe { std::slice::from_raw_parts_mut(region.base, region.len) })
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
            assert_eq!(memory.path(pointer, len, 4096), Err(Errno::FAULT));
        }
        assert_eq!(memory.slice(16, 0), Ok(&[][..]));
        assert_eq!(memory.write_u32(13, 1), Err(Errno::FAULT));
        assert_eq!(memory.read_u64(u64::MAX - 3), Err(Errno::FAULT));
        assert_eq!(memory.write_u64(8, 7), Ok(()));
        assert_eq!(memory.read_u64(8), Ok(7));
        assert_eq!(memory.read_u16(8), Ok(7));
        assert_eq!(memory.read_u8(8), Ok(7));
        assert_eq!(memory.write(14, &[1, 2, 3]), Err(Errno::FAULT));
        assert_eq!(memory.read_u16(14), Ok(0));
    }

    #[test]
    fn lists_keep_their_order_and_may_overlap() {
        let mut bytes = [0; 64];
        with_iovecs(&mut bytes, &[(50, 2), (40, 3), (0, 0), (41, 4)]);
        let memory = GuestMemory::new(&mut bytes);
        let list = memory.iovecs(0, 4, 1024).unwrap();
        assert_eq!(list.iter().map(Region::len).collect::<Vec<_>>(), [2, 3, 0, 4]);
        assert_eq!(total(&list), 9);
        assert_eq!(list[1].copy_in(0, &[1, 2, 3, 4]), 3);
        let mut copied = [9; 3];
        assert_eq!(list[3].copy_out(0, &mut copied), 3);
        assert_eq!(copied, [2, 3, 0]);
        assert_eq!(list[3].copy_out(3, &mut copied), 1);
        assert_eq!(list[3].copy_out(4, &mut copied), 0);
        assert_eq!(list[3].copy_out(usize::MAX, &mut copied), 0);
    }

    #[test]
    fn lists_are_bounded() {
        let mut bytes = [0; 64];
        with_iovecs(&mut bytes, &[(40, 4), (62, 3)]);
        let memory = GuestMemory::new(&mut bytes);
        let error = |pointer, count| memory.iovecs(pointer, count, 1024).err();
        assert_eq!(error(0, 1025), Some(Errno::INVAL));
        assert_eq!(error(0, u64::MAX), Some(Errno::INVAL));
        assert_eq!(error(0, 9), Some(Errno::FAULT));
        assert_eq!(error(0, 2), Some(Errno::FAULT));
        assert_eq!(error(u64::MAX, 2), Some(Errno::FAULT));
        assert_eq!(memory.iovecs(0, 1, 1024).unwrap().len(), 1);
        assert!(memory.iovecs(0, 0, 1024).unwrap().is_empty());
    }

    #[test]
    fn addresses_of_64_bits() {
        let mut bytes = vec![0; 64];
        let mut memory = GuestMemory::new(&mut bytes).with_64_bit_addresses();
        for (at, value) in [(0, 40), (8, 4), (16, 1 << 32), (24, 1)] {
            memory.write_u64(at, value).unwrap();
        }
        assert_eq!(memory.iovecs(0, 1, 1024).unwrap()[0].len(), 4);
        assert_eq!(memory.iovecs(0, 2, 1024).err(), Some(Errno::FAULT));
        assert_eq!(memory.iovecs(0, 5, 1024).err(), Some(Errno::FAULT));
        assert_eq!(memory.write_size(56, u64::MAX), Ok(()));
        assert_eq!(memory.read_size(56), Ok(u64::MAX));
        assert_eq!(memory.check_size(60), Err(Errno::FAULT));
        let mut memory = GuestMemory::new(&mut bytes);
        assert_eq!(memory.write_size(56, u64::MAX), Err(Errno::OVERFLOW));
        assert_eq!(memory.read_size(60), Ok(u64::from(u32::MAX)));
    }
}
