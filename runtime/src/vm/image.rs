//! Images of memories of modules that are instantiated more than once: the initial contents in a file without a name, which every instance
//! maps copy-on-write. The file also has (as holes) the room in front of the memory and behind the image, as far as that is small, so that
//! an instance has fewer mappings. It is sealed: nobody can change it any more, not even this process.

use super::fork::get_or_init;
use super::memory::{ImageBytes, MemoryImageSource};
use super::mmap::{Mmap, round_to_pages};
use super::pool::Pool;
use crate::code::Code;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fs::File;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use wasmc_environ::image::{ImagePlan, plan, segments_can_trap};
use wasmc_environ::module::Module as EnvModule;
use wasmc_environ::vmoffsets::VMOffsets;
use wasmc_environ::{DataIndex, DefinedMemoryIndex};

/// Where there are no data, this much of a memory still becomes part of the image, before and behind the data each: one mapping for all.
const MAX_HOLE: u64 = 1 << 20;
/// An image is as large as this, or at most four times as large as the data in it.
const MAX_SPARSE: u64 = 4 << 20;
/// Bytes that are read from an artifact at once.
const CHUNK: usize = 1 << 20;

/// The initial contents of a memory, to be mapped.
pub(crate) struct Image {
    id: NonZeroU64,
    file: File,
    /// Bytes of the file before the first one of the memory's.
    front: usize,
    /// The part of the memory that the file has; whole pages, from 0 if there is something in front.
    pub(super) mapped: Range<usize>,
    /// The part of that which may be other than zero; whole pages.
    data: Range<usize>,
    /// The whole file, to read.
    view: Mmap,
    /// Until the module is dropped.
    used: AtomicBool,
}

impl Image {
    /// Tells images apart, also those that are gone.
    pub(super) fn id(&self) -> NonZeroU64 {
        self.id
    }

    /// The file, and the part of the memory's mapping that is mapped from its beginning, if the memory's first byte is at `base` there.
    pub(super) fn place(&self, base: usize) -> (BorrowedFd<'_>, Range<usize>) {
        (self.file.as_fd(), base + self.mapped.start - self.front..base + self.mapped.end)
    }

    /// Whether new instances may still be made.
    pub(super) fn is_used(&self) -> bool {
        self.used.load(Ordering::Acquire)
    }

    /// The initial contents of a part of the memory: as far as there are any but zeros from its start on, those, else how far the zeros go.
    pub(super) fn contents(&self, part: &Range<usize>) -> Contents<'_> {
        let Range { start, end } = *part;
        if !self.data.contains(&start) {
            return Contents::Zeros(if start < self.data.start { end.min(self.data.start) } else { end });
        }
        let end = end.min(self.data.end);
        let at = start - self.mapped.start + self.front;
        // SAFETY: the file has all of `mapped`, the view all of the file, and nobody can write to it.
        Contents::Bytes(unsafe { std::slice::from_raw_parts(self.view.as_ptr().add(at), end - start) })
    }

    fn new(
        size: usize,
        front: usize,
        mapped: Range<usize>,
        data: Range<usize>,
        fill: impl FnOnce(&File, u64) -> std::io::Result<()>,
    ) -> std::io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Files without a name count, too, and who exceeds the limit gets a signal.
        let limit = rustix::process::getrlimit(rustix::process::Resource::Fsize).current;
        if limit.is_some_and(|limit| size as u64 > limit) {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        // Kernels before 6.3 do not know that flag.
        let fd = memfd_create(c"wasmc-memory", flags | MemfdFlags::NOEXEC_SEAL).or_else(|_| memfd_create(c"wasmc-memory", flags))?;
        ftruncate(&fd, size as u64)?;
        let file = File::from(fd);
        // Offsets in the file of what is at these offsets of the memory.
        fill(&file, (front as u64).wrapping_sub(mapped.start as u64))?;
        fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL)?;
        let view = Mmap::view(file.as_fd(), size)?;
        let id = NonZeroU64::new(NEXT.fetch_add(1, Ordering::Relaxed)).unwrap_or(NonZeroU64::MAX);
        Ok(Self { id, file, front, mapped, data, view, used: AtomicBool::new(true) })
    }
}

/// What a part of a memory begins with.
pub(super) enum Contents<'a> {
    /// Zeros up to this offset.
    Zeros(usize),
    /// These bytes.
    Bytes(&'a [u8]),
}

/// The images of a module's memories, made when a second instance is: who makes one has nothing of it.
pub(crate) struct Images {
    pool: Arc<Pool>,
    memories: Box<[Slot]>,
}

#[derive(Default)]
struct Slot {
    /// An instance was made before.
    before: AtomicBool,
    image: OnceLock<Option<Arc<Image>>>,
}

/// What an image is made of.
pub(crate) struct Source<'a> {
    pub(crate) env: &'a EnvModule,
    pub(crate) offsets: &'a VMOffsets,
    pub(crate) code: &'a Code,
    /// The bytes of a data segment.
    pub(crate) data: &'a dyn Fn(DataIndex) -> &'a [u8],
}

impl Images {
    pub(crate) fn new(pool: &Arc<Pool>, env: &EnvModule) -> Self {
        let count = env.memories.len() - env.num_imported_memories as usize;
        Self { pool: pool.clone(), memories: (0..count).map(|_| Slot::default()).collect() }
    }

    /// The image for a new instance's memory.
    pub(crate) fn get(&self, index: DefinedMemoryIndex, source: &Source<'_>) -> Option<&Arc<Image>> {
        if !self.pool.is_on() {
            return None;
        }
        let slot = &self.memories[index.index()];
        if !slot.before.load(Ordering::Relaxed) {
            slot.before.store(true, Ordering::Relaxed);
            return None;
        }
        get_or_init(&slot.image, || source.make(index).map(Arc::new)).as_ref()
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        for image in self.memories.iter().filter_map(|s| s.image.get()?.as_ref()) {
            image.used.store(false, Ordering::Release);
            self.pool.forget(image.id);
        }
    }
}

impl Source<'_> {
    fn make(&self, index: DefinedMemoryIndex) -> Option<Image> {
        let artifact = match self.code {
            Code::Loaded(code) => code.memory_image(index),
            Code::None => None,
        };
        let made = match artifact {
            Some(image) => self.of_artifact(index, image),
            None if segments_can_trap(self.env) => return None,
            None => self.of_segments(index, plan(self.env, index)?),
        };
        // Without one, instances are made as the first one was.
        made.inspect_err(|e| tracing::debug!("no image for memory {index}: {e}")).ok().flatten()
    }

    fn of_segments(&self, index: DefinedMemoryIndex, plan: ImagePlan) -> std::io::Result<Option<Image>> {
        if plan.range.end - plan.range.start > MAX_SPARSE.max(plan.data.saturating_mul(4)) {
            return Ok(None);
        }
        self.image(index, plan.range, |file, shift| {
            for (segment, at) in &plan.segments {
                file.write_all_at((self.data)(DataIndex::from_u32(*segment as u32)), at.wrapping_add(shift))?;
            }
            Ok(())
        })
    }

    fn of_artifact(&self, index: DefinedMemoryIndex, image: MemoryImageSource<'_>) -> std::io::Result<Option<Image>> {
        let MemoryImageSource { bytes, size, target } = image;
        self.image(index, target..target + size, |file, shift| match bytes {
            ImageBytes::Memory(bytes) => file.write_all_at(bytes, target.wrapping_add(shift)),
            ImageBytes::File(source, offset) => {
                // Not from the mapping: the file may have been truncated.
                let source = File::from(source.try_clone_to_owned()?);
                let mut buffer = vec![0; CHUNK.min(size as usize)];
                let mut done = 0;
                while done < size {
                    let part = CHUNK.min((size - done) as usize);
                    source.read_exact_at(&mut buffer[..part], offset + done)?;
                    file.write_all_at(&buffer[..part], (target + done).wrapping_add(shift))?;
                    done += part as u64;
                }
                Ok(())
            }
        })
    }

    /// An image with data in this range of the memory. `fill` gets the file and the distance from an offset in the memory to one in the file.
    fn image(
        &self,
        index: DefinedMemoryIndex,
        data: Range<u64>,
        fill: impl FnOnce(&File, u64) -> std::io::Result<()>,
    ) -> std::io::Result<Option<Image>> {
        let memory = self.env.memory_index(index);
        let Some(length) = self.env.memories[memory.index()].min_bytes().and_then(round_to_pages) else { return Ok(None) };
        let (start, end) = (data.start as usize, data.end as usize);
        if start > end || end > length {
            return Ok(None);
        }
        let start_mapped = if start as u64 <= MAX_HOLE { 0 } else { start };
        let end_mapped = if (length - end) as u64 <= MAX_HOLE { length } else { end };
        let front = match self.offsets.memory_behind() {
            Some(size) if memory.as_u32() == 0 && start_mapped == 0 => round_to_pages(u64::from(size)).unwrap_or(0),
            _ => 0,
        };
        Image::new(front + end_mapped - start_mapped, front, start_mapped..end_mapped, start..end, fill).map(Some)
    }
}
