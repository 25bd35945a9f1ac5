//! Random numbers, from the kernel's generator straight into the program's memory.

use rustix::io::Errno as HostErrno;

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::{COPY_CHUNK, GuestMemory};
use crate::host;

/// Fills `buf_len` bytes at `buf`.
///
/// # Errors
///
/// `FAULT` if they are not all memory, `INVAL` for more than [`WasiLimits::random_bytes`](crate::WasiLimits::random_bytes).
pub fn random_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, buf: u64, buf_len: u64) -> Result<(), Errno> {
    let region = mem.region(buf, buf_len)?;
    if buf_len > ctx.common.limits.random_bytes {
        return Err(Errno::INVAL);
    }
    let mut at = 0;
    if let Some(random) = &ctx.common.random {
        let mut buffer = vec![0; region.len().min(COPY_CHUNK)];
        while at < region.len() {
            let len = buffer.len().min(region.len() - at);
            random.fill(&mut buffer[..len]);
            at += region.copy_in(at, &buffer[..len]);
        }
        return Ok(());
    }
    while at < region.len() {
        // More than 256 bytes may come in parts.
        match host::random(region, at) {
            Ok(filled) => at += filled,
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
    fn more_than_the_limit_is_refused() {
        let mut limits = crate::WasiLimits::default();
        assert!(limits.set("random-bytes", 8));
        let mut ctx = WasiCtxBuilder::new().limits(limits).build().unwrap();
        let mut bytes = [0; 16];
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 0, 9), Err(Errno::INVAL));
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 0, 8), Ok(()));
    }

    #[test]
    fn a_seed_repeats_itself() {
        let numbers = |seed, len| {
            let mut ctx = WasiCtxBuilder::new().deterministic(seed).build().unwrap();
            let mut bytes = vec![0; len];
            assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 0, len as u64), Ok(()));
            bytes
        };
        assert_eq!(numbers(1, 100_001), numbers(1, 100_001));
        assert_ne!(numbers(1, 16), numbers(2, 16));
    }

    #[test]
    fn the_source_can_be_replaced() {
        struct Sevens;
        impl WasiRandom for Sevens {
            fn fill(&self, buffer: &mut [u8]) {
                buffer.fill(7);
            }
        }
        let mut ctx = WasiCtxBuilder::new().random(Sevens).build().unwrap();
        let mut bytes = [0; 4];
        assert_eq!(random_get(&mut ctx, &mut GuestMemory::new(&mut bytes), 1, 2), Ok(()));
        assert_eq!(bytes, [0, 7, 7, 0]);
    }
}
