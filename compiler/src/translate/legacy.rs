//! Exceptions in their older form: `try`, `catch`, `catch_all`, `delegate`, `rethrow`. A `try` is a scope like that of a
//! `try_table` whose clauses lead to the catches inside the construct. What follows the body is needed while the body is
//! translated: a `throw` with a known handler is a branch, and only catches that a `rethrow` refers to need the exception
//! itself. So the first `try` of a function has the rest of it read ahead once.

use super::FuncTranslator;
use super::control::FrameKind;
use super::exception::{Caught, Clause, ScopeKind, Target, TryScope};
use cranelift_codegen::ir::{Block, InstBuilder, types};
use wasmc_environ::TagIndex;
use wasmc_environ::jit::CompileError;
use wasmc_environ::types::AbiType;
use wasmparser::{BlockType, FunctionBody, Operator};

/// An open `try`.
pub(super) struct LegacyTry {
    /// Whether its body is still open.
    in_body: bool,
    /// The clauses of the catches to come, the last one first.
    handlers: Vec<Clause>,
    /// The exception that the open catch caught, if a `rethrow` refers to it.
    caught: Option<Caught>,
}

/// What comes after the body of a `try`.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct TryShape {
    /// The tags of its catches, `None` for `catch_all`, and whether a `rethrow` refers to the catch.
    catches: Vec<(Option<TagIndex>, bool)>,
    /// The label of its `delegate`.
    delegate: Option<u32>,
}

/// The shapes of all `try`s of a body, in order. The body need not be valid: what comes after an error is left out, since
/// validation will not get there either.
fn shapes(body: &FunctionBody<'_>) -> Vec<TryShape> {
    let mut shapes: Vec<TryShape> = Vec::new();
    // The constructs that are open, with the number of the `try`.
    let mut open: Vec<Option<usize>> = vec![None];
    let Ok(mut reader) = body.get_operators_reader() else { return shapes };
    while !reader.eof() {
        let Ok(op) = reader.read() else { break };
        match op {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } | Operator::TryTable { .. } => open.push(None),
            Operator::Try { .. } => {
                open.push(Some(shapes.len()));
                shapes.push(TryShape::default());
            }
            Operator::End => {
                open.pop();
            }
            Operator::Catch { tag_index } => {
                if let Some(&Some(i)) = open.last() {
                    shapes[i].catches.push((Some(TagIndex::from_u32(tag_index)), false));
                }
            }
            Operator::CatchAll => {
                if let Some(&Some(i)) = open.last() {
                    shapes[i].catches.push((None, false));
                }
            }
            Operator::Delegate { relative_depth } => {
                if let Some(Some(i)) = open.pop() {
                    shapes[i].delegate = Some(relative_depth);
                }
            }
            Operator::Rethrow { relative_depth } => {
                let at = open.len().checked_sub(1 + relative_depth as usize);
                if let Some(&Some(i)) = at.and_then(|i| open.get(i))
                    && let Some((_, rethrown)) = shapes[i].catches.last_mut()
                {
                    *rethrown = true;
                }
            }
            _ => {}
        }
    }
    shapes
}

impl FuncTranslator<'_, '_> {
    pub(super) fn legacy_try(&mut self, ty: BlockType) -> Result<(), CompileError> {
        let body = self.body;
        let shape = self.tries.get_or_insert_with(|| shapes(body).into_iter()).next().unwrap_or_default();
        if self.dead_construct() {
            return Ok(());
        }
        let control = self.control_height();
        let kind = LegacyTry { in_body: true, handlers: Vec::new(), caught: None };
        self.try_frame(ty, FrameKind::Try(Box::new(kind)))?;
        let kind = if let Some(depth) = shape.delegate {
            // The label is counted from outside. That of the function itself is at the height 0, below all scopes.
            let to = control.checked_sub(1 + depth as usize).and_then(|height| self.scope_of_construct(height));
            ScopeKind::Delegating(to)
        } else if shape.catches.is_empty() {
            return Ok(());
        } else {
            let clause = |(tag, rethrown)| Clause { tag, with_reference: rethrown, target: Target::Handler(None) };
            ScopeKind::Catching { clauses: shape.catches.into_iter().map(clause).collect(), landing: None }
        };
        self.buffers.scopes.push(TryScope { control, kind });
        Ok(())
    }

    /// `catch` and `catch_all`, which their clause tells apart.
    pub(super) fn legacy_catch(&mut self) -> Result<(), CompileError> {
        let (reachable, cold) = (self.reachable, self.cold);
        let Some(frame) = self.innermost() else { return Ok(()) };
        let FrameKind::Try(kind) = &mut frame.kind else { return Ok(()) };
        let in_body = std::mem::replace(&mut kind.in_body, false);
        kind.caught = None;
        frame.next_used |= reachable;
        frame.next_hot |= reachable && !cold;
        let cold = frame.cold;
        let (next, height, results) = (frame.next, frame.height, frame.results);
        if reachable {
            self.jump(next, results);
        }
        self.buffers.stack.truncate(height);
        self.reachable = false;
        self.cold = cold;
        if in_body {
            let (mut clauses, landing) = self.close_scope(self.control_height() - 1);
            if let Some(landing) = landing {
                self.landing(landing, &mut clauses)?;
            }
            clauses.reverse();
            if let Some(FrameKind::Try(kind)) = self.innermost().map(|f| &mut f.kind) {
                kind.handlers = clauses;
            }
        }
        let Some(FrameKind::Try(kind)) = self.innermost().map(|f| &mut f.kind) else { return Ok(()) };
        // Without a block, no exception gets there.
        let Some(Clause { with_reference, target: Target::Handler(Some(block)), .. }) = kind.handlers.pop() else { return Ok(()) };
        self.continue_in(block);
        self.push_block_params(block);
        self.reachable = true;
        if with_reference {
            let object = self.pop();
            let reference = self.pop();
            if let Some(FrameKind::Try(kind)) = self.innermost().map(|f| &mut f.kind) {
                kind.caught = Some(Caught { reference, object });
            }
        }
        Ok(())
    }

    /// The block of the catch that a clause leads to.
    pub(super) fn handler_block(&mut self, clause: &mut Clause) -> Block {
        if let Target::Handler(Some(block)) = clause.target {
            return block;
        }
        let module = self.env.module;
        let payload = clause.tag.map_or(&[][..], |tag| module.tag_params(tag));
        let block = self.create_block(super::control::TypeList::Many(payload));
        if clause.with_reference {
            let reference = self.builder.append_block_param(block, types::I32);
            self.declare_root(reference, AbiType::HeapRef);
            self.builder.append_block_param(block, types::I64);
        }
        clause.target = Target::Handler(Some(block));
        block
    }

    /// Closes a `try` that handles nothing itself.
    pub(super) fn delegate(&mut self) -> Result<(), CompileError> {
        if self.innermost().is_some() {
            self.close_scope(self.control_height() - 1);
        }
        self.end()
    }

    pub(super) fn rethrow(&mut self, depth: u32) {
        // Validation has established that the label is that of a catch, and reading ahead that it keeps its exception.
        let Some(FrameKind::Try(kind)) = self.construct(depth).map(|f| &f.kind) else { return };
        let Some(Caught { reference, object }) = kind.caught else { return };
        // The collector never moves an object, and the reference, as a root until here, keeps it alive.
        let reference = self.builder.ins().uextend(types::I64, reference);
        self.pass_on(Caught { reference, object });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmparser::{Parser, Payload};

    fn shapes_of(body: &str) -> Vec<TryShape> {
        let wasm = wat::parse_str(format!("(module (tag $a) (tag $b) (func {body}))")).unwrap();
        for payload in Parser::new(0).parse_all(&wasm) {
            if let Ok(Payload::CodeSectionEntry(body)) = payload {
                return shapes(&body);
            }
        }
        Vec::new()
    }

    #[test]
    fn bodies_are_read_ahead() {
        let tag = |i, rethrown| (Some(TagIndex::from_u32(i)), rethrown);
        let found = shapes_of(
            "try nop catch $a
               try try_table end delegate 0
             catch $b
               try catch_all block loop rethrow 3 end end end
             catch_all end
             try if rethrow 1 end end",
        );
        let shape = |catches: &[(Option<TagIndex>, bool)], delegate| TryShape { catches: catches.to_vec(), delegate };
        assert_eq!(
            found,
            [
                shape(&[tag(0, false), tag(1, true), (None, false)], None),
                shape(&[], Some(0)),
                shape(&[(None, false)], None),
                // Of the body: invalid, and of no consequence.
                shape(&[], None),
            ]
        );
    }
}
