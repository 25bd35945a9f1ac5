//! `--invoke`: arguments parsed by the function's type, results printed one a line.

use crate::exit::{ExitCode, usage, with_code};
use anyhow::Result;
use std::ffi::OsString;
use wasmc_runtime::{Instance, Store, Val, ValType};

/// Calls an exported function with arguments from the command line and prints its results.
///
/// # Errors
/// If there is no such function, an argument does not fit its type, or the call fails.
pub fn invoke<T>(store: &mut Store<T>, instance: &Instance, name: &str, args: &[OsString]) -> Result<()> {
    let Some(func) = instance.get_func(&mut *store, name) else {
        return Err(with_code(ExitCode::DATA, format!("--invoke {name}: no function of that name is exported")));
    };
    let ty = func.ty(&*store);
    if ty.params.len() != args.len() {
        return Err(usage(format!("--invoke {name}: the function has type {ty}, but {} arguments were given", args.len())));
    }
    let mut values = Vec::new();
    for (i, (arg, ty)) in args.iter().zip(&ty.params).enumerate() {
        let text = arg.to_string_lossy();
        let value = parse(&text, ty).ok_or_else(|| usage(format!("--invoke {name}: argument {} is `{text}`, not of type {ty}", i + 1)))?;
        values.push(value);
    }
    let mut results = vec![Val::I32(0); ty.results.len()];
    func.call(&mut *store, &values, &mut results)?;
    for r in &results {
        println!("{}", show(r));
    }
    Ok(())
}

/// Integers may be decimal or hexadecimal, signed or unsigned.
fn parse(text: &str, ty: &ValType) -> Option<Val> {
    fn int(text: &str) -> Option<i128> {
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |d| (true, d));
        let value = match digits.strip_prefix("0x") {
            Some(hex) => i128::from_str_radix(hex, 16),
            None => digits.parse(),
        };
        value.ok().map(|v| if negative { -v } else { v })
    }
    Some(match ty {
        ValType::I32 => {
            let v = int(text)?;
            Val::I32(i32::try_from(v).ok().or_else(|| u32::try_from(v).ok().map(|v| v as i32))?)
        }
        ValType::I64 => {
            let v = int(text)?;
            Val::I64(i64::try_from(v).ok().or_else(|| u64::try_from(v).ok().map(|v| v as i64))?)
        }
        ValType::F32 => Val::F32(text.parse::<f32>().ok()?.to_bits()),
        ValType::F64 => Val::F64(text.parse::<f64>().ok()?.to_bits()),
        ValType::V128 => Val::V128(u128::from_str_radix(text.strip_prefix("0x")?, 16).ok()?.into()),
        ValType::Ref(_) => return None,
    })
}

fn show(value: &Val) -> String {
    match value {
        Val::I32(v) => v.to_string(),
        Val::I64(v) => v.to_string(),
        Val::F32(v) => f32::from_bits(*v).to_string(),
        Val::F64(v) => f64::from_bits(*v).to_string(),
        Val::V128(v) => format!("{:#034x}", v.as_u128()),
        other => format!("{other:?}"),
    }
}
