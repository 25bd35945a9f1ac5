//! Images of initial memories in artifacts: `wasmc_environ::image` says which memories can have one; here it is filled with the bytes.

use wasmc_environ::artifact::MemoryImage;
use wasmc_environ::limits::MAX_MEMORY_IMAGE_SPARSITY;
use wasmc_environ::module::SegmentMode;
use wasmc_environ::{DefinedMemoryIndex, Module, image};

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
        if image::segments_can_trap(module) {
            return Self::none(module);
        }
        let mut images = Self::default();
        for i in 0..defined_memories(module) {
            let image = images.add(module, DefinedMemoryIndex::from_u32(i), wasm);
            images.images.push(image);
        }
        images
    }

    fn add(&mut self, module: &Module, index: DefinedMemoryIndex, wasm: &[u8]) -> Option<MemoryImage> {
        let image::ImagePlan { range, segments, data } = image::plan(module, index)?;
        let length = range.end - range.start;
        if length > data.saturating_mul(MAX_MEMORY_IMAGE_SPARSITY) {
            return None;
        }
        let bytes_of = |segment: usize| {
            let bytes = &module.data[segment].bytes;
            wasm.get(bytes.start as usize..bytes.end as usize)
        };
        if segments.iter().any(|(segment, _)| bytes_of(*segment).is_none()) {
            return None;
        }
        let base = self.bytes.len();
        self.bytes.resize(base + length as usize, 0);
        for (segment, offset) in segments {
            let bytes = bytes_of(segment)?;
            let at = base + (offset - range.start) as usize;
            self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        }
        Some(MemoryImage { offset: base as u64, size: length, target: range.start })
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
            assert!(i.images.iter().all(Option::is_none), "{text}");
            assert!(i.bytes.is_empty());
        }
    }
    /// Instantiation stops at a segment that traps, and what stands behind it must not be in the memory then.
    #[test]
    fn nothing_before_an_image_traps() {
        let dense = |rest: &str| {
            let data = "x".repeat(40_000);
            images(&format!(r#"(module {rest} (memory $m 1) (table 1 funcref) (func $f) (data (memory $m) (i32.const 0) "{data}"))"#))
                .1
                .images
        };
        assert!(dense("").iter().any(Option::is_some));
        assert!(dense("(elem (i32.const 0) $f)").iter().any(Option::is_some));
        for rest in [
            "(elem (i32.const 1) $f)",
            r#"(import "m" "g" (global $g i32)) (elem (global.get $g) $f)"#,
            r#"(import "m" "t" (table $t 1 funcref)) (elem (table $t) (i32.const 1) func $f)"#,
            r#"(import "m" "m" (memory $other 1)) (data (memory $other) (i32.const 65536) "a")"#,
        ] {
            assert!(dense(rest).iter().all(Option::is_none), "{rest}");
        }
    }
}
