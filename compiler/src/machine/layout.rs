//! The function put together again: with short forms of branches where they reach, tables and constants where they are now, and a map from
//! the old offsets to the new ones.

use super::decode::{Change, Flow, Function, Piece};
use std::ops::Range;

/// Constants keep their place to a multiple of this.
const ALIGNMENT: u32 = 16;
/// Innermost loops begin at multiples of this.
const LOOP_ALIGNMENT: u32 = 32;
/// Longer loops begin anywhere.
const MAX_LOOP: u32 = 512;

/// Where the bytes of a function went.
#[derive(Clone, Debug, Default)]
pub struct Moves {
    /// Old and new offsets of instructions and data, sorted, and the length of each in the new code. Instructions that follow each other as they
    /// did before are one.
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
        self.get_near(offset, &mut 0)
    }

    /// The same. `last` is what it left there for an offset nearby: then it looks there first.
    pub fn get_near(&self, offset: u32, last: &mut usize) -> u32 {
        let contains = |i: usize| {
            let next = self.places.get(i + 1);
            self.places.get(i).is_some_and(|p| p.0 <= offset) && next.is_none_or(|n| offset < n.0)
        };
        if !contains(*last) {
            *last += 1;
        }
        if !contains(*last) {
            let Some(found) = self.places.partition_point(|p| p.0 <= offset).checked_sub(1) else { return offset };
            *last = found;
        }
        match self.places.get(*last) {
            Some((old, new, len)) => new + (offset - old).min(*len),
            None => offset,
        }
    }
}

/// The length of a branch in its short form.
const SHORT: u8 = 2;
/// Beside the length of an instruction: it begins at a multiple of `LOOP_ALIGNMENT`.
const ALIGNED: u8 = 0x80;

/// The length of a branch in its long form.
fn long_size(flow: Flow) -> u8 {
    match flow {
        Flow::Jump(_) => 5,
        _ => 6,
    }
}

/// Puts a function together.
pub(super) fn lay_out(function: &Function<'_>) -> Option<(Vec<u8>, Moves)> {
    let count = function.insts.len();
    let mut starts = vec![0u32; count];
    let mut tables = vec![0u32; function.tables.len()];
    let mut data = Vec::new();
    // The length of each instruction. Branches begin short, and grow where they do not reach.
    let mut lengths = vec![0u8; count];
    let mut branches: Vec<(u32, u32)> = Vec::new();
    for (i, inst) in function.insts.iter().enumerate() {
        lengths[i] = match (inst.change, inst.flow) {
            (Change::Delete, _) => 0,
            (Change::Keep, Flow::Jump(target)) if goes_on(function, i, target) => 0,
            (Change::Keep, Flow::Jump(target) | Flow::Branch(target)) => {
                branches.push((i as u32, target));
                SHORT
            }
            (Change::Replace(_, len), _) => len,
            (Change::Keep, _) => inst.len,
        };
    }
    for head in loops(function) {
        lengths[head as usize] |= ALIGNED;
    }
    let size = loop {
        let mut at = 0u32;
        data.clear();
        for piece in &function.pieces {
            match *piece {
                Piece::Code(first, end) => {
                    let range = first as usize..end as usize;
                    for (start, length) in starts[range.clone()].iter_mut().zip(&lengths[range]) {
                        if length & ALIGNED != 0 {
                            at = at.next_multiple_of(LOOP_ALIGNMENT);
                        }
                        *start = at;
                        at += u32::from(length & !ALIGNED);
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
        let before = branches.len();
        branches.retain(|&(i, target)| {
            let distance = i64::from(starts[target as usize]) - i64::from(starts[i as usize] + u32::from(SHORT));
            let reaches = i8::try_from(distance).is_ok();
            if !reaches {
                let length = &mut lengths[i as usize];
                *length = *length & ALIGNED | long_size(function.insts[i as usize].flow);
            }
            reaches
        });
        if branches.len() == before {
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
    // Instructions that follow each other as they did before are copied together: where they begin in the old code, and end.
    let mut run = 0..0;
    for piece in &function.pieces {
        match *piece {
            Piece::Code(first, end) => {
                for i in first as usize..end as usize {
                    let inst = &function.insts[i];
                    let length = lengths[i] & !ALIGNED;
                    let is_plain = inst.change == Change::Keep
                        && !matches!(inst.flow, Flow::Jump(_) | Flow::Branch(_))
                        && (inst.distance == 0 || inst.relocated);
                    let at = bytes.len() + run.len();
                    if is_plain && run.end == inst.offset as usize && starts[i] as usize == at {
                        run.end = inst.end() as usize;
                        continue;
                    }
                    flush(function, &mut run, &mut bytes, &mut places)?;
                    let gap = (starts[i] as usize).checked_sub(bytes.len())?;
                    pad(&mut bytes, gap);
                    let start = bytes.len() as u32;
                    if start != starts[i] {
                        return None;
                    }
                    if is_plain {
                        run = inst.offset as usize..inst.end() as usize;
                        continue;
                    }
                    let old = function.bytes.get(inst.offset as usize..inst.end() as usize)?;
                    match (inst.change, inst.flow) {
                        (Change::Delete, _) => {}
                        (Change::Keep, Flow::Jump(_)) if length == 0 => {}
                        (Change::Replace(new, len), _) => bytes.extend_from_slice(new.get(..usize::from(len))?),
                        (Change::Keep, Flow::Jump(target) | Flow::Branch(target)) => {
                            let condition = matches!(inst.flow, Flow::Branch(_)).then_some(inst.condition);
                            let to = i64::from(starts[target as usize]);
                            let end = i64::from(start) + i64::from(length);
                            if length != SHORT {
                                match condition {
                                    Some(c) => bytes.extend_from_slice(&[0x0f, 0x80 | c]),
                                    None => bytes.push(0xe9),
                                }
                                bytes.extend_from_slice(&i32::try_from(to - end).ok()?.to_le_bytes());
                            } else {
                                bytes.push(condition.map_or(0xeb, |c| 0x70 | c));
                                bytes.push(i8::try_from(to - end).ok()? as u8);
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
                flush(function, &mut run, &mut bytes, &mut places)?;
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

/// Copies instructions that stay as they are, and empties the range.
fn flush(function: &Function<'_>, run: &mut Range<usize>, bytes: &mut Vec<u8>, places: &mut Vec<(u32, u32, u32)>) -> Option<()> {
    let old = std::mem::take(run);
    if !old.is_empty() {
        places.push((old.start as u32, bytes.len() as u32, old.len() as u32));
        bytes.extend_from_slice(function.bytes.get(old)?);
    }
    Some(())
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
fn loops(function: &Function<'_>) -> Vec<u32> {
    let mut heads = Vec::new();
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
                    heads.push(head);
                }
                last = last.max(Some(head));
            }
            Flow::Call | Flow::Table(_) => last = Some(i as u32),
            _ => {}
        }
    }
    heads
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
