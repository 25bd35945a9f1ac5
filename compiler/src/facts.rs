//! What must be known of all bodies before any of them is compiled: which tables are closed, and with which types wasm
//! code can leave this module (those need exit stubs), and to which functions references are made. Bodies are read in parallel; a malformed one is left for
//! the validation to report, which says better what is wrong. On the way, inlining gets what it wants to know of each body.

use crate::opt::{BodyFacts, Scanner};
use crate::size::BodySize;
use rayon::prelude::*;
use std::collections::BTreeSet;
use wasmc_environ::decode::FunctionToValidate;
use wasmc_environ::{FuncIndex, TableIndex, TypeIndex};
use wasmparser::{FunctionBody, Operator};

/// What a set of bodies does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Tables that an instruction other than `call_indirect` reads or writes.
    pub touched: BTreeSet<TableIndex>,
    /// Types of `call_indirect`s, with their table.
    pub indirect: BTreeSet<(TableIndex, TypeIndex)>,
    /// Types of `call_ref`s.
    pub references: BTreeSet<TypeIndex>,
    /// Functions of `ref.func`s.
    pub functions: BTreeSet<FuncIndex>,
    /// Of each body what inlining wants to know, in order.
    pub bodies: Vec<BodyFacts>,
    /// Of each body whether it is small enough for native code, in order.
    pub fits: Vec<bool>,
}

impl Facts {
    /// The facts of all `functions`.
    pub fn of(functions: &[FunctionToValidate<'_>]) -> Self {
        functions.par_iter().with_min_len(16).fold(Self::default, |facts, f| facts.add(&f.body)).reduce(Self::default, Self::merge)
    }

    fn add(mut self, body: &FunctionBody<'_>) -> Self {
        let mut scanner = Scanner::default();
        let mut size = BodySize::default();
        self.read(body, &mut scanner, &mut size);
        self.bodies.push(scanner.finish());
        self.fits.push(size.fits());
        self
    }

    fn read(&mut self, body: &FunctionBody<'_>, scanner: &mut Scanner, size: &mut BodySize) {
        // An error ends the reading: the validator will come to it.
        let Ok(mut reader) = body.get_operators_reader() else { return };
        while !reader.eof() {
            let offset = reader.original_position();
            let Ok(op) = reader.read() else { break };
            scanner.add(&op, offset);
            size.add(&op);
            match op {
                Operator::TableGet { table }
                | Operator::TableSet { table }
                | Operator::TableGrow { table }
                | Operator::TableFill { table }
                | Operator::TableInit { table, .. } => {
                    self.touched.insert(TableIndex::from_u32(table));
                }
                Operator::TableCopy { dst_table, src_table } => {
                    self.touched.insert(TableIndex::from_u32(dst_table));
                    self.touched.insert(TableIndex::from_u32(src_table));
                }
                Operator::CallIndirect { type_index, table_index } | Operator::ReturnCallIndirect { type_index, table_index } => {
                    self.indirect.insert((TableIndex::from_u32(table_index), TypeIndex::from_u32(type_index)));
                }
                Operator::CallRef { type_index } | Operator::ReturnCallRef { type_index } => {
                    self.references.insert(TypeIndex::from_u32(type_index));
                }
                Operator::RefFunc { function_index } => {
                    self.functions.insert(FuncIndex::from_u32(function_index));
                }
                _ => {}
            }
        }
    }

    fn merge(mut self, mut other: Self) -> Self {
        self.touched.append(&mut other.touched);
        self.indirect.append(&mut other.indirect);
        self.references.append(&mut other.references);
        self.functions.append(&mut other.functions);
        self.bodies.append(&mut other.bodies);
        self.fits.append(&mut other.fits);
        self
    }
}
