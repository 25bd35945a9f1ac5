//! Images of initial memories: where every active segment of a memory has a constant offset in bounds, what
//! instantiation would write is known now, and the loader maps it instead of copying.

use wasmc_environ::artifact::MemoryImage;
use wasmc_environ::limits::{MAX_MEMORY_IMAGE, MAX_MEMORY_IMAGE_SPARSITY, SEGMENT_ALIGNMENT};
use wasmc_environ::module::SegmentMode;
use wasmc_environ::{DefinedMemoryIndex, Module};

/// The images of a module's memories.
#[derive(Debug, Default)]
pub struct Images {
    /// By `DefinedMemoryIndex`.
    pub images: Vec<Option<MemoryImage>>,
    /// Their contents, one behind the other.
    pub bytes: Vec<u8>,
}

impl Images {
    /// No image for any memory.
    pub fn none(module: &Module) -> Self {
        Self { images: vec![None; defined_memories(module) as usize], bytes: Vec::new() }
    }

    /// Images for those memories that can have one.
    pub fn new(module: &Module, wasm: &[u8]) -> Self {
        let mut images = Self::default();
        for i in 0..defined_memories(module) {
            let image = images.add(module, DefinedMemoryIndex::from_u32(i), wasm);
            images.images.push(image);
        }
        images
    }

    fn add(&mut self, module: &Module, index: DefinedMemoryIndex, wasm: &[u8]) -> Option<MemoryImage> {
        let memory = module.memory_index(index);
        let ty = &module.memories[memory.index()];
        let size = ty.min_bytes()?;
        // Other page sizes would let an image reach beyond the end of the memory.
        if ty.shared || 1 << ty.page_size_log2 != SEGMENT_ALIGNMENT {
            return None;
        }
        let mut segments: Vec<(u64, &[u8])> = Vec::new();
        for s in &module.data {
            let SegmentMode::Active { target, offset } = &s.mode else { continue };
            if *target != memory {
                continue;
            }
            let start = offset.as_constant_offset()?;
            let bytes = wasm.get(s.bytes.start as usize..s.bytes.end as usize)?;
            if start.checked_add(bytes.len() as u64)? > size {
                return None;
            }
            if !bytes.is_empty() {
                segments.push((start, bytes));
            }
        }
        let start = segments.iter().map(|(o, _)| *o).min()? / SEGMENT_ALIGNMENT * SEGMENT_ALIGNMENT;
        let end = segments.iter().map(|(o, b)| o + b.len() as u64).max()?.next_multiple_of(SEGMENT_ALIGNMENT);
        let data: u64 = segments.iter().map(|(_, b)| b.len() as u64).sum();
        let length = end - start;
        if length > MAX_MEMORY_IMAGE || length > data.saturating_mul(MAX_MEMORY_IMAGE_SPARSITY) {
            return None;
        }
        let base = self.bytes.len();
        self.bytes.resize(base + length as usize, 0);
        for (offset, bytes) in segments {
            let at = base + (offset - start) as usize;
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
        Some(MemoryImage { offset: base as u64, size: length, target: start })
    }
}

fn defined_memories(module: &Module) -> u32 {
    module.memories.len() as u32 - module.num_imported_memories
}

/// Moves the bytes of all segments that are still needed into one section, and their ranges with them: for an artifact
/// without the original module.
pub fn strip_data(module: &mut Module, images: &[Option<MemoryImage>], wasm: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    let imported = module.num_imported_memories;
    for s in &mut module.data {
        let in_image = match &s.mode {
            SegmentMode::Active { target, .. } => {
                target.as_u32().checked_sub(imported).and_then(|i| images.get(i as usize)).is_some_and(Option::is_some)
            }
            _ => false,
        };
        let bytes = wasm.get(s.bytes.start as usize..s.bytes.end as usize).filter(|_| !in_image).unwrap_or(&[]);
        let start = section.len() as u64;
        section.extend_from_slice(bytes);
        s.bytes = start..section.len() as u64;
    }
    section
}

#[cfg(test)]
mod tests {
    use super::*;
    use wasmc_environ::features::Features;

    fn images(text: &str) -> (Module, Images, Vec<u8>) {
        let wasm = wat::parse_str(text).unwrap();
        let module = wasmc_environ::decode::decode(&wasm, &Features::default()).unwrap().module;
        let images = Images::new(&module, &wasm);
        (module, images, wasm)
    }

    #[test]
    fn dense_memory_has_an_image() {
        let data = "x".repeat(40_000);
        let (mut module, i, wasm) =
            images(&format!(r#"(module (memory 4) (data (i32.const 65540) "{data}") (data (i32.const 65541) "ab") (data "passive"))"#));
        assert_eq!(i.images, [Some(MemoryImage { offset: 0, size: 65536, target: 65536 })]);
        assert_eq!(&i.bytes[3..8], b"\0xabx");
        assert_eq!(strip_data(&mut module, &i.images, &wasm), b"passive");
        assert_eq!(module.data[2].bytes, 0..7);
    }

    #[test]
    fn what_must_stay_segments() {
        for text in [
            r#"(module (memory 4))"#,
            r#"(module (memory 4) (data (i32.const 0) "sparse"))"#,
            r#"(module (memory 1) (data (i32.const 65535) "ab"))"#,
            r#"(module (import "m" "g" (global i32)) (memory 1) (data (global.get 0) "ab"))"#,
        ] {
            let (_, i, _) = images(text);
            assert_eq!(i.images, [None], "{text}");
            assert!(i.bytes.is_empty());
        }
    }
}
