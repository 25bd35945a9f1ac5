//! Compiles a module a few times and prints how long it took: `bench_compile IN.wasm [OUT.so] [JOBS] [RUNS]`. Where the
//! command line would add options and a progress bar, this is the compiler alone.

use std::error::Error;
use std::path::Path;
use wasmc_compiler::{CompileOptions, compile_to_artifact};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().collect();
    let input = args.get(1).ok_or("usage: bench_compile IN.wasm [OUT.so] [JOBS] [RUNS]")?;
    let jobs = args.get(3).map(|j| j.parse()).transpose()?;
    let runs: usize = args.get(4).map_or(Ok(1), |r| r.parse())?;
    let wasm = std::fs::read(input)?;
    for _ in 0..runs {
        let artifact = compile_to_artifact(&wasm, &CompileOptions { jobs, ..CompileOptions::default() })?;
        let s = artifact.stats;
        println!("{input}: {} functions, {} bytes of code, {} bytes, {:.3} s", s.functions, s.code_bytes, artifact.bytes.len(), s.seconds);
        if let Some(out) = args.get(2).filter(|o| *o != "-") {
            artifact.write_artifact(Path::new(out))?;
        }
    }
    Ok(())
}
