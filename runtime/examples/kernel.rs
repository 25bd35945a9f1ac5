//! Runs a kernel of the corpus in the interpreter, with just enough WASI.
use wasmc_runtime::*;

fn main() -> Result<()> {
    let path = std::env::args().nth(1).unwrap();
    let engine = Engine::new(Config::new().tier(Tier::Interpreted))?;
    let bytes = std::fs::read(&path)?;
    let module = Module::new(&engine, if path.ends_with(".wat") { wat::parse_bytes(&bytes)?.into_owned() } else { bytes })?;
    let mut store = Store::new(&engine, ());
    let mut linker: Linker<()> = Linker::new(&engine);
    let m = "wasi_snapshot_preview1";
    linker.func_wrap(m, "fd_close", |_: i32| -> i32 { 0 })?;
    linker.func_wrap(m, "fd_fdstat_get", |mut c: Caller<'_, ()>, _fd: i32, p: i32| -> i32 {
        let Some(Extern::Memory(mem)) = c.get_export("memory") else { return 8 };
        let mut b = [0u8; 24];
        b[0] = 2;
        mem.write(&mut c, p as usize, &b).unwrap();
        0
    })?;
    linker.func_wrap(m, "fd_seek", |_: i32, _: i64, _: i32, _: i32| -> i32 { 70 })?;
    linker.func_wrap(m, "proc_exit", |c: i32| -> () { std::process::exit(c) })?;
    linker.func_wrap(m, "fd_write", |mut c: Caller<'_, ()>, fd: i32, iov: i32, n: i32, out: i32| -> i32 {
        let Some(Extern::Memory(mem)) = c.get_export("memory") else { return 8 };
        let mut total = 0u32;
        for i in 0..n {
            let mut b = [0u8; 8];
            mem.read(&mut c, (iov + 8 * i) as u32 as usize, &mut b).unwrap();
            let p = u32::from_le_bytes(b[..4].try_into().unwrap());
            let l = u32::from_le_bytes(b[4..].try_into().unwrap());
            let mut buf = vec![0; l as usize];
            mem.read(&mut c, p as usize, &mut buf).unwrap();
            use std::io::Write;
            if fd == 1 {
                std::io::stdout().write_all(&buf).unwrap()
            } else {
                std::io::stderr().write_all(&buf).unwrap()
            }
            total += l;
        }
        mem.write(&mut c, out as u32 as usize, &total.to_le_bytes()).unwrap();
        0
    })?;
    let instance = linker.instantiate(&mut store, &module)?;
    let start = instance.get_typed_func::<(), ()>(&mut store, "_start")?;
    start.call(&mut store, ())?;
    Ok(())
}
