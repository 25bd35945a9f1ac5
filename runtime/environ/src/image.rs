//! Images of initial memories: where every active segment of a memory has a constant offset in bounds, and nothing that happens before can
//! trap, what instantiation writes is known beforehand, and is mapped instead of copied: from an artifact, or from what the runtime made
//! of a module that is instantiated again and again.

use crate::index::DefinedMemoryIndex;
use crate::limits::{MAX_MEMORY_IMAGE, SEGMENT_ALIGNMENT};
use crate::module::{Module, SegmentMode};
use core::ops::Range;

/// Where the active segments of a memory lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImagePlan {
    /// The part of the memory that holds them all: multiples of `SEGMENT_ALIGNMENT`.
    pub range: Range<u64>,
    /// For each in turn, its number in the module and where it begins in the memory. Later ones overwrite earlier ones.
    pub segments: Vec<(usize, u64)>,
    /// Bytes of the segments.
    pub data: u64,
}

/// Whether instantiation can trap at an active segment: what was written before it then stays written, and no more than that.
pub fn segments_can_trap(module: &Module) -> bool {
    let beyond = |offset: Option<u64>, len: u64, size: Option<u64>| {
        let end = offset.and_then(|o| o.checked_add(len));
        !matches!((end, size), (Some(end), Some(size)) if end <= size)
    };
    // Imported tables and memories are at least as large as their types say.
    let element = module.elements.iter().any(|s| match &s.mode {
        SegmentMode::Active { target, offset } => {
            let size = module.tables.get(target.index()).map(|t| t.limits.min);
            beyond(offset.as_constant_offset(), s.items.len() as u64, size)
        }
        _ => false,
    });
    let data = |s: &crate::module::DataSegment| match &s.mode {
        SegmentMode::Active { target, offset } => {
            let size = module.memories.get(target.index()).and_then(|m| m.min_bytes());
            beyond(offset.as_constant_offset(), s.bytes.end.saturating_sub(s.bytes.start), size)
        }
        _ => false,
    };
    element || module.data.iter().any(data)
}

/// What the image of a memory would consist of, if it can have one. That no segment can trap is for the caller to see
/// ([`segments_can_trap`]).
pub fn plan(module: &Module, index: DefinedMemoryIndex) -> Option<ImagePlan> {
    let memory = module.memory_index(index);
    let ty = &module.memories[memory.index()];
    let size = ty.min_bytes()?;
    // Other page sizes would let an image reach beyond the end of the memory.
    if ty.shared || 1 << ty.page_size_log2 != SEGMENT_ALIGNMENT {
        return None;
    }
    let (mut segments, mut start, mut end, mut data) = (Vec::new(), u64::MAX, 0, 0);
    for (i, s) in module.data.iter().enumerate() {
        let SegmentMode::Active { target, offset } = &s.mode else { continue };
        if *target != memory {
            continue;
        }
        let (at, len) = (offset.as_constant_offset()?, s.bytes.end.checked_sub(s.bytes.start)?);
        let behind = at.checked_add(len).filter(|e| *e <= size)?;
        if len != 0 {
            (start, end, data) = (start.min(at), end.max(behind), data + len);
            segments.push((i, at));
        }
    }
    let range = start / SEGMENT_ALIGNMENT * SEGMENT_ALIGNMENT..end.next_multiple_of(SEGMENT_ALIGNMENT);
    (!segments.is_empty() && range.end - range.start <= MAX_MEMORY_IMAGE).then_some(ImagePlan { range, segments, data })
}
