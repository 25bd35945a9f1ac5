//! Random numbers, from the kernel's generator straight into the program's memory.

use rustix::io::Errno as HostErrno;
use rustix::rand::GetRandomFlags;

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;

/// Fills `buf_len` bytes at `buf`.
///
/// # Errors
///
/// `FAULT` if they are not all memory.
pub fn random_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, buf: u64, buf_len: u64) -> Result<(), Errno> {
    let mut rest = mem.slice_mut(buf, buf_len)?;
    if let Some(random) = &mut ctx.random {
        random.fill(rest);
        return Ok(());
    }
    while !rest.is_empty() {
        // More than 256 bytes may come in parts.
        match rustix::rand::getrandom(&mut *rest, GetRandomFlags::empty()) {
            Ok(filled) => rest = rest.get_mut(filled..).unwrap_or_default(),
            Err(HostErrno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{WasiCtxBuilder, WasiRandom};

    #[test]
    fn buffers_are_filled_to_the_end() {
        let mut ctx = WasiCtxBuilder::new().build().unwrap();
        let mut bytes = vec![0; 1 << 20];
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 0, 1 << 20), Ok(()));
        // A run of 16 zeros has a chance of 2^-108.
        assert!(bytes.chunks(16).all(|chunk| chunk.iter().any(|byte| *byte != 0)));
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 1, 1 << 20), Err(Errno::FAULT));
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 0, 0), Ok(()));
    }

    #[test]
    fn the_source_can_be_replaced() {
        struct Sevens;
        impl WasiRandom for Sevens {
            fn fill(&mut self, buffer: &mut [u8]) {
                buffer.fill(7);
            }
        }
        let mut ctx = WasiCtxBuilder::new().random(Sevens).build().unwrap();
        let mut bytes = [0; 4];
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 1, 2), Ok(()));
        assert_eq!(bytes, [0, 7, 7, 0]);
    }
}
