//! What is wrong with a module, in full: every function with an error and not only the first, and whether the bytes are
//! malformed (not a module at all) or a module that is not valid. Slower than `decode`, for those who want to know why.

use crate::decode::{Decoded, decode, validate_body};
use crate::error::{DecodeError, DecodeErrorKind};
use crate::features::Features;
use crate::index::{DefinedFuncIndex, FuncIndex};
use wasmparser::{ElementItems, Operator, OperatorsReader, Parser, Payload, TableInit};

/// An error and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What is wrong, and at which byte.
    pub error: DecodeError,
    /// The function in whose body it is.
    pub function: Option<FuncIndex>,
    /// The instruction at that byte as wasmparser writes it, if there is one.
    pub operator: Option<String>,
}

/// All errors of a module, at most `most` of them and at most one a function; none if it is valid. Where the bytes are
/// malformed, that is the only error, as the specification decodes before it validates.
pub fn diagnose(wasm: &[u8], features: &Features, most: usize) -> Vec<Diagnostic> {
    let mut found = Vec::new();
    let at = |error: DecodeError, function| {
        let operator = operator_at(wasm, features, error.offset);
        Diagnostic { error, function, operator }
    };
    match decode(wasm, features) {
        Err(e) => found.push(at(e, None)),
        Ok(Decoded { module, functions }) => {
            let mut allocations = wasmparser::FuncValidatorAllocations::default();
            for (i, f) in functions.into_iter().enumerate() {
                match validate_body(f, std::mem::take(&mut allocations)) {
                    Ok(a) => allocations = a,
                    Err(e) => found.push(at(e, Some(module.func_index(DefinedFuncIndex::from_u32(i as u32))))),
                }
                if found.len() >= most {
                    break;
                }
            }
        }
    }
    if found.iter().any(|d| d.error.kind == DecodeErrorKind::Invalid)
        && let Some(error) = malformed(wasm, features)
    {
        let function = found.iter().find(|d| d.error.offset == error.offset).and_then(|d| d.function);
        return vec![at(error, function)];
    }
    found
}

/// Why the bytes are malformed, if they are: not what the binary format's grammar produces (specification 3.0, "Binary
/// Format"), whatever validation would say.
pub fn malformed(wasm: &[u8], features: &Features) -> Option<DecodeError> {
    let error = parse(wasm, features).err()?;
    Some(DecodeError { kind: DecodeErrorKind::Malformed, ..error })
}

fn parse(wasm: &[u8], features: &Features) -> Result<(), DecodeError> {
    let features = features.to_wasmparser();
    let mut parser = Parser::new(0);
    parser.set_features(features);
    let mut data_count = false;
    for payload in parser.parse_all(wasm) {
        match payload? {
            Payload::TypeSection(reader) => all(reader)?,
            Payload::ImportSection(reader) => {
                for import in reader.into_imports_with_offsets() {
                    let (offset, import) = import?;
                    if let wasmparser::TypeRef::Global(ty) = import.ty {
                        unshared(&ty, offset)?;
                    }
                }
            }
            Payload::FunctionSection(reader) => all(reader)?,
            Payload::TableSection(reader) => {
                for table in reader {
                    if let TableInit::Expr(e) = table?.init {
                        operators(e.get_operators_reader(), true)?;
                    }
                }
            }
            Payload::MemorySection(reader) => all(reader)?,
            Payload::TagSection(reader) => all(reader)?,
            Payload::GlobalSection(reader) => {
                for global in reader.into_iter_with_offsets() {
                    let (offset, global) = global?;
                    unshared(&global.ty, offset)?;
                    operators(global.init_expr.get_operators_reader(), true)?;
                }
            }
            Payload::ExportSection(reader) => all(reader)?,
            Payload::ElementSection(reader) => {
                for segment in reader {
                    let segment = segment?;
                    if let wasmparser::ElementKind::Active { offset_expr, .. } = segment.kind {
                        operators(offset_expr.get_operators_reader(), true)?;
                    }
                    match segment.items {
                        ElementItems::Functions(reader) => all(reader)?,
                        ElementItems::Expressions(_, reader) => {
                            for e in reader {
                                operators(e?.get_operators_reader(), true)?;
                            }
                        }
                    }
                }
            }
            Payload::DataCountSection { .. } => data_count = true,
            Payload::DataSection(reader) => {
                for segment in reader {
                    if let wasmparser::DataKind::Active { offset_expr, .. } = segment?.kind {
                        operators(offset_expr.get_operators_reader(), true)?;
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut locals = body.get_locals_reader()?;
                let mut total = 0u64;
                for _ in 0..locals.get_count() {
                    let offset = locals.original_position();
                    total += u64::from(locals.read()?.0);
                    if total > u64::from(u32::MAX) {
                        return Err(DecodeError::invalid("too many locals", offset));
                    }
                }
                let mut reader = locals.get_binary_reader();
                reader.set_features(features);
                operators(OperatorsReader::new(reader), data_count)?;
            }
            Payload::UnknownSection { id, range, .. } => {
                return Err(DecodeError::invalid(format!("malformed section id: {id}"), range.start));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Only a proposal that wasmc does not have gives a meaning to the bit.
fn unshared(ty: &wasmparser::GlobalType, offset: u64) -> Result<(), DecodeError> {
    if ty.shared { Err(DecodeError::invalid("malformed mutability", offset)) } else { Ok(()) }
}

fn all<T>(items: impl IntoIterator<Item = wasmparser::Result<T>>) -> Result<(), DecodeError> {
    for item in items {
        item?;
    }
    Ok(())
}

fn operators(mut reader: OperatorsReader<'_>, data_count: bool) -> Result<(), DecodeError> {
    while !reader.eof() {
        let (op, offset) = reader.read_with_offset()?;
        // The binary format itself asks for the section, so that one pass can check the segment's index.
        if !data_count && matches!(op, Operator::MemoryInit { .. } | Operator::DataDrop { .. }) {
            return Err(DecodeError::invalid("data count section required", offset));
        }
    }
    reader.finish()?;
    Ok(())
}

/// The instruction of a body that stands at this byte.
fn operator_at(wasm: &[u8], features: &Features, offset: u64) -> Option<String> {
    let mut parser = Parser::new(0);
    parser.set_features(features.to_wasmparser());
    for payload in parser.parse_all(wasm) {
        let Payload::CodeSectionEntry(body) = payload.ok()? else { continue };
        if !body.range().contains(&offset) {
            continue;
        }
        let mut reader = body.get_operators_reader().ok()?;
        while !reader.eof() {
            let (op, at) = reader.read_with_offset().ok()?;
            if at == offset {
                return Some(if matches!(op, Operator::End) { "end".into() } else { format!("{op:?}") });
            }
        }
        return None;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wasm(text: &str) -> Vec<u8> {
        wat::parse_str(text).unwrap()
    }

    #[test]
    fn every_function_with_an_error_is_named() {
        let wasm = wasm("(module (import \"m\" \"f\" (func)) (func) (func (result i32)) (func) (func i32.add drop))");
        let found = diagnose(&wasm, &Features::default(), 10);
        let functions: Vec<_> = found.iter().map(|d| d.function.unwrap().as_u32()).collect();
        assert_eq!(functions, [2, 4]);
        assert!(found.iter().all(|d| d.error.kind == DecodeErrorKind::Invalid));
        assert_eq!(found[0].operator.as_deref(), Some("end"));
        assert_eq!(found[1].operator.as_deref(), Some("I32Add"));
        assert_eq!(diagnose(&wasm, &Features::default(), 1).len(), 1);
        assert_eq!(diagnose(&wasm[..8], &Features::default(), 10), []);
    }

    #[test]
    fn malformed_comes_before_invalid() {
        let mut bytes = wasm("(module (func (result i32)) (func nop))");
        let at = bytes.len() - 2;
        assert_eq!(bytes[at], 0x01);
        bytes[at] = 0xff;
        let found = diagnose(&bytes, &Features::default(), 10);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].error.kind, DecodeErrorKind::Malformed);
        assert_eq!(found[0].error.offset, at as u64);
        assert!(malformed(&wasm("(module (func (result i32)))"), &Features::default()).is_none());
        assert!(malformed(b"\0asm", &Features::default()).is_some());
    }
}
