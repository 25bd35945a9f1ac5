//! Arguments. The block was laid out when the context was built.

use crate::ctx::WasiCtx;
use crate::errno::Errno;
use crate::guest::GuestMemory;

/// Copies the arguments to `argv_buf`, NUL-terminated, and a pointer to each to the array at `argv`.
///
/// # Errors
///
/// `FAULT` if either does not fit in memory.
pub fn args_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, argv: u64, argv_buf: u64) -> Result<(), Errno> {
    ctx.common.args.write(mem, argv, argv_buf)
}

/// Writes the number of arguments and the bytes that they take.
///
/// # Errors
///
/// `FAULT` if either result is not in memory.
#[inline]
pub fn args_sizes_get(ctx: &mut WasiCtx, mem: &mut GuestMemory<'_>, argc: u64, argv_buf_size: u64) -> Result<(), Errno> {
    ctx.common.args.write_sizes(mem, argc, argv_buf_size)
}

#[cfg(test)]
mod tests {
    use crate::errno::Errno;
    use crate::preview1::*;
    use crate::{GuestMemory, WasiCtxBuilder};

    #[test]
    fn arguments_and_environment_are_laid_out() {
        let mut ctx = WasiCtxBuilder::new().args(["prog", "", "x y"]).env("A", "1").env("B", "").env("A", "2").build().unwrap();
        let mut bytes = vec![0xff; 64];
        let mut mem = GuestMemory::new(&mut bytes);
        assert_eq!(args_sizes_get(&mut ctx, &mut mem, 0, 4), Ok(()));
        assert_eq!((mem.read_u32(0), mem.read_u32(4)), (Ok(3), Ok(10)));
        assert_eq!(args_get(&mut ctx, &mut mem, 0, 20), Ok(()));
        assert_eq!([mem.read_u32(0), mem.read_u32(4), mem.read_u32(8)], [Ok(20), Ok(25), Ok(26)]);
        assert_eq!(mem.slice(20, 11), Ok(&b"prog\0\0x y\0\xff"[..]));
        assert_eq!(args_get(&mut ctx, &mut mem, 0, 55), Err(Errno::FAULT));
        assert_eq!(args_get(&mut ctx, &mut mem, 53, 20), Err(Errno::FAULT));

        assert_eq!(environ_sizes_get(&mut ctx, &mut mem, 0, 4), Ok(()));
        assert_eq!((mem.read_u32(0), mem.read_u32(4)), (Ok(2), Ok(7)));
        assert_eq!(environ_get(&mut ctx, &mut mem, 0, 20), Ok(()));
        assert_eq!(mem.slice(20, 7), Ok(&b"A=2\0B=\0"[..]));
    }

    #[test]
    fn strings_with_nul_are_refused() {
        assert!(WasiCtxBuilder::new().arg("a\0b").build().is_err());
        assert!(WasiCtxBuilder::new().env("a\0", "b").build().is_err());
    }
}
