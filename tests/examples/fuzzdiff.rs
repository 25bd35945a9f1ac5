//! Random modules on the interpreted and the compiled tier.
use std::sync::Arc;
use wasm_smith::{Config as Smith, Module as SmithModule};
use wasmc_runtime::*;

struct Rng(u64);
impl Rng {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545F4914F6CDD1D)
    }
}

fn show(v: &Val) -> String {
    match v {
        Val::I32(x) => format!("i32 {x:x}"),
        Val::I64(x) => format!("i64 {x:x}"),
        Val::F32(x) => format!("f32 {:x}", if f32::from_bits(*x).is_nan() { 0x7fc00000 } else { *x }),
        Val::F64(x) => format!("f64 {:x}", if f64::from_bits(*x).is_nan() { 0x7ff8000000000000 } else { *x }),
        Val::V128(x) => format!("v128 {:x}", x.as_u128()),
        Val::FuncRef(x) => format!("func {}", x.is_some()),
        Val::ExternRef(x) => format!("extern {}", x.is_some()),
        Val::ExnRef(x) => format!("exn {}", x.is_some()),
        _ => "?".into(),
    }
}

fn arg(ty: &ValType, rng: &mut Rng) -> Option<Val> {
    let r = rng.next();
    let small = [0i64, 1, -1, 2, 0x7fffffff, -0x80000000, i64::MIN, i64::MAX, 8, 64];
    let pick = if r & 1 == 0 { small[(r >> 8) as usize % small.len()] } else { (r >> 3) as i64 };
    Some(match ty {
        ValType::I32 => Val::I32(pick as i32),
        ValType::I64 => Val::I64(pick),
        ValType::F32 => Val::F32((pick as f32).to_bits()),
        ValType::F64 => Val::F64((pick as f64 * 0.37).to_bits()),
        other => Val::default_for(other)?,
    })
}

fn run(engine: &Engine, wasm: &[u8], seed: u64, log: &mut Vec<String>) -> Result<()> {
    let module = Module::new(engine, wasm)?;
    let mut store = Store::new(engine, ());
    let instance = match Instance::new(&mut store, &module, &[]) {
        Ok(i) => i,
        Err(e) => {
            log.push(format!("instantiate: {}", describe(&e)));
            return Ok(());
        }
    };
    let mut rng = Rng(seed | 1);
    let exports: Vec<(String, Extern)> = instance.exports(&mut store).map(|e| (e.name().to_owned(), e.into_extern())).collect();
    for round in 0..2 {
        for (name, item) in &exports {
            let Extern::Func(f) = item else { continue };
            let ty = f.ty(&store);
            let Some(args) = ty.params.iter().map(|t| arg(t, &mut rng)).collect::<Option<Vec<_>>>() else { continue };
            let Some(mut results) = ty.results.iter().map(Val::default_for).collect::<Option<Vec<_>>>() else { continue };
            match f.call(&mut store, &args, &mut results) {
                Ok(()) => log.push(format!("{round} {name}: {}", results.iter().map(show).collect::<Vec<_>>().join(", "))),
                Err(e) => log.push(format!("{round} {name}: {}", describe(&e))),
            }
            for (n, g) in &exports {
                match g {
                    Extern::Global(g) => log.push(format!("  {n} {}", show(&g.get(&mut store)))),
                    Extern::Memory(m) => {
                        let h = m.data(&store).iter().fold(0xcbf29ce484222325u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100000001b3));
                        log.push(format!("  {n} {} {h:x}", m.size(&store)));
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(())
}

fn describe(e: &Error) -> String {
    if let Some(t) = e.downcast_ref::<Trap>() {
        let frames: Vec<String> = t.backtrace().frames().iter().map(|f| format!("{:?}", f.func_index())).collect();
        return format!("trap {:?} {}", t.code(), if t.code() == TrapCode::StackOverflow { String::new() } else { frames.join(" ") });
    }
    if e.downcast_ref::<ThrownException>().is_some() {
        return "exception".into();
    }
    format!("{e}")
}

fn main() {
    let mut a = std::env::args().skip(1);
    let start: u64 = a.next().map_or(1, |s| s.parse().unwrap());
    let count: u64 = a.next().map_or(1000, |s| s.parse().unwrap());
    let interp = Engine::new(Config::new().tier(Tier::Interpreted)).unwrap();
    let compiled = Engine::new(Config::new().tier(Tier::Compiled).compiler(Arc::new(wasmc_compiler::Jit::default()))).unwrap();
    let mixed =
        Engine::new(Config::new().tier(Tier::Compiled).compiler(Arc::new(wasmc_compiler::Jit::default())).interpret(vec![Interpret::Odd]))
            .unwrap();
    let (mut ran, mut bad) = (0, 0);
    for seed in start..start + count {
        let mut rng = Rng(seed.wrapping_mul(0x9E3779B97F4A7C15) | 1);
        for _ in 0..8 {
            rng.next();
        }
        let len = 200 + (rng.next() % 6000) as usize;
        let bytes: Vec<u8> = (0..len).map(|_| (rng.next() >> 32) as u8).collect();
        let mut u = arbitrary::Unstructured::new(&bytes);
        let config = Smith {
            gc_enabled: false,
            threads_enabled: false,
            relaxed_simd_enabled: false,
            wide_arithmetic_enabled: false,
            memory64_enabled: false,
            compact_imports_enabled: false,
            canonicalize_nans: true,
            max_memories: 2,
            max_memory32_bytes: 1 << 20,
            max_tables: 2,
            max_table_elements: 1000,
            table_max_size_required: true,
            memory_max_size_required: true,
            max_imports: 0,
            max_instructions: 50 + (rng.next() % 2000) as usize,
            max_funcs: 10,
            min_funcs: 1,
            export_everything: true,
            simd_enabled: rng.next() % 2 == 0,
            ..Smith::default()
        };
        let Ok(mut m) = SmithModule::new(config, &mut u) else { continue };
        if m.ensure_termination(3000).is_err() {
            continue;
        }
        let wasm = m.to_bytes();
        let mut logs = vec![];
        let mut skip = false;
        for e in [&interp, &compiled, &mixed] {
            let mut log = vec![];
            if let Err(e) = run(e, &wasm, seed, &mut log) {
                if ran == 0 {
                    eprintln!("seed {seed}: {e:#}");
                }
                skip = true;
                break;
            }
            logs.push(log);
        }
        if skip {
            continue;
        }
        ran += 1;
        for (i, l) in logs.iter().enumerate().skip(1) {
            if *l != logs[0] {
                bad += 1;
                std::fs::write(format!("/tmp/fuzz-{seed}.wasm"), &wasm).unwrap();
                let at = l.iter().zip(&logs[0]).position(|(a, b)| a != b).unwrap_or(0);
                println!(
                    "seed {seed} tier {i} line {at}: interp `{}`, other `{}`",
                    logs[0].get(at).map_or("", |s| s),
                    l.get(at).map_or("", |s| s)
                );
                break;
            }
        }
    }
    println!("{ran} modules, {bad} differ");
}
