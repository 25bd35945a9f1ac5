//! The function put together again: with short forms of branches where they reach, tables and constants where they are now, and a map from
//! the old offsets to the new ones.

use super::decode::{Change, Flow, Function, Piece};

/// Constants keep their place to a multiple of this.
const ALIGNMENT: u32 = 16;
/// Innermost loops begin at multiples of this.
const LOOP_ALIGNMENT: u32 = 32;
/// Longer loops begin anywhere.
const MAX_LOOP: u32 = 512;

/// Where the bytes of a function went.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Old and new offsets of instructions and data, sorted, and the length of each in the new code.
    places: Vec<(u32, u32, u32)>,
    /// Where tables and constants are, sorted.
    data: Vec<(u32, u32)>,
}

impl Moves {
    /// From where to where there is no code.
    pub fn data(&self) -> &[(u32, u32)] {
        &self.data
    }

    /// Where what ended at an offset ends now: the return of a call, behind which a loop may be aligned.
    pub fn get_end(&self, offset: u32) -> u32 {
        offset.checked_sub(1).map_or(0, |last| self.get(last) + 1)
    }

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
    let mut starts = vec![0u32; count];
    let mut tables = vec![0u32; function.tables.len()];
    let mut data = Vec::new();
    let aligned = loops(function);
    let size = loop {
        let mut at = 0u32;
        data.clear();
        for piece in &function.pieces {
            match *piece {
                Piece::Code(first, end) => {
                    for i in first as usize..end as usize {
                        if aligned[i] {
                            at = at.next_multiple_of(LOOP_ALIGNMENT);
                        }
                        starts[i] = at;
                        let inst = &function.insts[i];
                        at += match (inst.change, inst.flow) {
                            (Change::Delete, _) => 0,
                            (Change::Keep, Flow::Jump(target)) if goes_on(function, i, target) => 0,
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
        let mut grown = false;
        for (i, inst) in function.insts.iter().enumerate() {
            let (Flow::Jump(target) | Flow::Branch(target)) = inst.flow else { continue };
            if long[i] || inst.change == Change::Delete || matches!(inst.flow, Flow::Jump(_)) && goes_on(function, i, target) {
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
    let mut ranges = Vec::new();
    let mut next_data = data.iter();
    for piece in &function.pieces {
        match *piece {
            Piece::Code(first, end) => {
                for i in first as usize..end as usize {
                    let inst = &function.insts[i];
                    let gap = (starts[i] as usize).checked_sub(bytes.len())?;
                    pad(&mut bytes, gap);
                    let start = bytes.len() as u32;
                    if start != starts[i] {
                        return None;
                    }
                    let old = function.bytes.get(inst.offset as usize..inst.end() as usize)?;
                    match (inst.change, inst.flow) {
                        (Change::Delete, _) => {}
                        (Change::Keep, Flow::Jump(target)) if goes_on(function, i, target) => {}
                        (Change::Replace(new, len), _) => bytes.extend_from_slice(new.get(..usize::from(len))?),
                        (Change::Keep, Flow::Jump(target) | Flow::Branch(target)) => {
                            let condition = matches!(inst.flow, Flow::Branch(_)).then_some(inst.condition);
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
                ranges.push((start, bytes.len() as u32));
            }
            Piece::Data(start, end) => {
                let (_, new) = *next_data.next()?;
                // With what aligns it.
                ranges.push((bytes.len() as u32, new + (end - start)));
                bytes.resize(new as usize, 0);
                bytes.extend_from_slice(function.bytes.get(start as usize..end as usize)?);
                places.push((start, new, end - start));
            }
        }
    }
    Some((bytes, Moves { places, data: ranges }))
}

/// Whether nothing is left between a jump and what it leads to.
fn goes_on(function: &Function<'_>, jump: usize, target: u32) -> bool {
    let target = target as usize;
    // No table or constant may lie between them.
    target > jump
        && target - jump < 16
        && function.insts[jump + 1..target].iter().all(|i| i.change == Change::Delete)
        && function.insts[jump..=target].windows(2).all(|w| w[0].end() == w[1].offset)
}

/// Where innermost loops without calls begin.
fn loops(function: &Function<'_>) -> Vec<bool> {
    let mut aligned = vec![false; function.insts.len()];
    // The end of the last jump back to what is not before it: what contains it is no innermost loop.
    let mut last: Option<u32> = None;
    for (i, inst) in function.insts.iter().enumerate() {
        if inst.change == Change::Delete {
            continue;
        }
        match inst.flow {
            Flow::Jump(head) | Flow::Branch(head) if head as usize <= i => {
                let start = function.insts[head as usize].offset;
                if inst.end() - start <= MAX_LOOP && last.is_none_or(|l| l < head) {
                    aligned[head as usize] = true;
                }
                last = last.max(Some(head));
            }
            Flow::Call | Flow::Table(_) => last = Some(i as u32),
            _ => {}
        }
    }
    aligned
}

/// Fills a gap with instructions that do nothing, as long as there are (Intel SDM volume 2B, NOP).
fn pad(bytes: &mut Vec<u8>, mut gap: usize) {
    const NOPS: [&[u8]; 9] = [
        &[0x90],
        &[0x66, 0x90],
        &[0x0f, 0x1f, 0],
        &[0x0f, 0x1f, 0x40, 0],
        &[0x0f, 0x1f, 0x44, 0, 0],
        &[0x66, 0x0f, 0x1f, 0x44, 0, 0],
        &[0x0f, 0x1f, 0x80, 0, 0, 0, 0],
        &[0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
        &[0x66, 0x0f, 0x1f, 0x84, 0, 0, 0, 0, 0],
    ];
    while let Some(n) = gap.min(NOPS.len()).checked_sub(1) {
        bytes.extend_from_slice(NOPS[n]);
        gap -= n + 1;
    }
}
