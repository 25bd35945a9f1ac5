//! The function put together again: with short forms of branches where they reach, tables and constants where they are now, and a map from
//! the old offsets to the new ones.

use super::decode::{Change, Flow, Function, Piece};

/// Constants keep their place to a multiple of this.
const ALIGNMENT: u32 = 16;

/// Where the bytes of a function went.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Old and new offsets of instructions and data, sorted, and the length of each in the new code.
    places: Vec<(u32, u32, u32)>,
}

impl Moves {
    /// Where what was at an offset is now; where it would be, if it is gone.
    pub fn get(&self, offset: u32) -> u32 {
        if self.places.is_empty() {
            return offset;
        }
        match self.places.partition_point(|p| p.0 <= offset).checked_sub(1).and_then(|i| self.places.get(i)) {
            Some((old, new, len)) => new + (offset - old).min(*len),
            None => offset,
        }
    }
}

/// The length of a branch in its long form, and in its short one.
fn branch_sizes(flow: Flow) -> (u32, u32) {
    match flow {
        Flow::Jump(_) => (5, 2),
        _ => (6, 2),
    }
}

/// Puts a function together.
pub(super) fn lay_out(function: &Function<'_>) -> Option<(Vec<u8>, Moves)> {
    let count = function.insts.len();
    // Branches begin short, and grow where they do not reach.
    let mut long = vec![false; count];
    let mut starts = vec![0u32; count + 1];
    let mut tables = vec![0u32; function.tables.len()];
    let mut data = Vec::new();
    let size = loop {
        let mut at = 0u32;
        data.clear();
        for piece in &function.pieces {
            match *piece {
                Piece::Code(first, end) => {
                    for i in first as usize..end as usize {
                        starts[i] = at;
                        let inst = &function.insts[i];
                        at += match (inst.change, inst.flow) {
                            (Change::Delete, _) => 0,
                            (Change::Replace(_, len), _) => u32::from(len),
                            (Change::Keep, Flow::Jump(_) | Flow::Branch(_)) => {
                                let sizes = branch_sizes(inst.flow);
                                if long[i] { sizes.0 } else { sizes.1 }
                            }
                            (Change::Keep, _) => u32::from(inst.len),
                        };
                    }
                }
                Piece::Table(table) => {
                    tables[table as usize] = at;
                    at += 4 * function.tables[table as usize].targets.len() as u32;
                }
                Piece::Data(start, end) => {
                    at += start.wrapping_sub(at) % ALIGNMENT;
                    data.push((start, at));
                    at += end - start;
                }
            }
        }
        starts[count] = at;
        let mut grown = false;
        for (i, inst) in function.insts.iter().enumerate() {
            let (Flow::Jump(target) | Flow::Branch(target)) = inst.flow else { continue };
            if long[i] || inst.change == Change::Delete {
                continue;
            }
            let distance = i64::from(starts[target as usize]) - i64::from(starts[i] + 2);
            if i8::try_from(distance).is_err() {
                long[i] = true;
                grown = true;
            }
        }
        if !grown {
            break at;
        }
    };

    // Where an address of data is now.
    let moved = |address: u32| -> Option<u32> {
        if let Ok(t) = function.tables.binary_search_by_key(&address, |t| t.offset) {
            return Some(tables[t]);
        }
        let (start, new) = data.get(data.partition_point(|d| d.0 <= address).checked_sub(1)?)?;
        Some(new + (address - start))
    };
    let mut bytes = Vec::with_capacity(size as usize);
    let mut places = Vec::with_capacity(count + data.len());
    let mut next_data = data.iter();
    for piece in &function.pieces {
        match *piece {
            Piece::Code(first, end) => {
                for i in first as usize..end as usize {
                    let inst = &function.insts[i];
                    let start = bytes.len() as u32;
                    if start != starts[i] {
                        return None;
                    }
                    let old = function.bytes.get(inst.offset as usize..inst.end() as usize)?;
                    match (inst.change, inst.flow) {
                        (Change::Delete, _) => {}
                        (Change::Replace(new, len), _) => bytes.extend_from_slice(new.get(..usize::from(len))?),
                        (Change::Keep, Flow::Jump(target) | Flow::Branch(target)) => {
                            // The condition is the low half of the last byte of the opcode.
                            let condition = match inst.flow {
                                Flow::Branch(_) => Some(condition(old)?),
                                _ => None,
                            };
                            let to = i64::from(starts[target as usize]);
                            let sizes = branch_sizes(inst.flow);
                            if long[i] {
                                match condition {
                                    Some(c) => bytes.extend_from_slice(&[0x0f, 0x80 | c]),
                                    None => bytes.push(0xe9),
                                }
                                bytes.extend_from_slice(&i32::try_from(to - i64::from(start + sizes.0)).ok()?.to_le_bytes());
                            } else {
                                bytes.push(condition.map_or(0xeb, |c| 0x70 | c));
                                bytes.push(i8::try_from(to - i64::from(start + sizes.1)).ok()? as u8);
                            }
                        }
                        (Change::Keep, _) => {
                            bytes.extend_from_slice(old);
                            let decoded = &function.decoded[i];
                            if inst.distance != 0 && !inst.relocated {
                                let address = moved(u32::try_from(decoded.ip_rel_memory_address()).ok()?)?;
                                let distance = i32::try_from(i64::from(address) - bytes.len() as i64).ok()?;
                                let at = start as usize + usize::from(inst.distance);
                                bytes.get_mut(at..at + 4)?.copy_from_slice(&distance.to_le_bytes());
                            }
                        }
                    }
                    places.push((inst.offset, start, bytes.len() as u32 - start));
                }
            }
            Piece::Table(table) => {
                let table = &function.tables[table as usize];
                let start = bytes.len() as u32;
                for target in &table.targets {
                    let distance = i64::from(starts[*target as usize]) - i64::from(start);
                    bytes.extend_from_slice(&i32::try_from(distance).ok()?.to_le_bytes());
                }
                places.push((table.offset, start, bytes.len() as u32 - start));
            }
            Piece::Data(start, end) => {
                let (_, new) = *next_data.next()?;
                bytes.resize(new as usize, 0);
                bytes.extend_from_slice(function.bytes.get(start as usize..end as usize)?);
                places.push((start, new, end - start));
            }
        }
    }
    Some((bytes, Moves { places }))
}

/// The condition of a branch.
fn condition(branch: &[u8]) -> Option<u8> {
    match *branch {
        [0x0f, op @ 0x80..=0x8f, ..] | [op @ 0x70..=0x7f, _] => Some(op & 0xf),
        _ => None,
    }
}
