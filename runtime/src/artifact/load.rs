//! From a checked header to code that can run: map the file, hash what is mapped, decode and validate the metadata, and
//! make the text executable as the last step. Five system calls for a small artifact.

use super::digest::digest_of;
use super::header::{HEADER_END, METER_BIT, check};
use super::stamp::Stamp;
use super::validate::Uncompiled;
use super::{ArtifactError, ArtifactErrorKind as Kind, HostChecks, validate};
use crate::code::{Backing, LoadedCode, Section, Sections};
use crate::vm::mmap::{Mmap, page_size};
use std::fs::{File, OpenOptions};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::OnceLock;
use wasmc_environ::artifact::{ArtifactMeta, FORMAT_VERSION, HEADER_OFFSET, Header, MAGIC, SectionKind};
use zerocopy::{FromBytes, IntoBytes};

/// Sections that are hashed when the artifact is opened. The text is, too, unless it is trusted. `MESSAGES` are checked
/// when they are first used; the others hold bytes for the program, not for the runtime: `verify_all` hashes them.
const HASHED: &[SectionKind] = &[
    SectionKind::Meta,
    SectionKind::Functions,
    SectionKind::Traps,
    SectionKind::Handlers,
    SectionKind::StackMaps,
    SectionKind::StackMapSlots,
    SectionKind::RoData,
];

/// Sections that only messages need. They are a third of what there would be to read at the start.
const MESSAGES: &[SectionKind] = &[SectionKind::Names, SectionKind::Addresses, SectionKind::InlineSites, SectionKind::InlineRanges];

/// Opens an artifact, checks it, and maps its code.
pub(crate) fn open(path: &Path, host: &HostChecks) -> Result<LoadedCode, ArtifactError> {
    load(path, host).map_err(|kind| ArtifactError { path: path.to_owned(), kind })
}

/// Whether the header of an artifact says that its code is metered. What is read of a pipe would be missing later.
pub(crate) fn is_metered(path: &Path) -> Option<bool> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).ok()?;
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut start = [0u8; HEADER_END];
    let read = read_start(&file, &mut start).ok()?;
    let (header, _) = Header::read_from_prefix(start[..read].get(HEADER_OFFSET..)?).ok()?;
    (header.magic == MAGIC && header.format_version == FORMAT_VERSION).then_some(header.tunables & METER_BIT != 0)
}

fn io(action: &'static str) -> impl FnOnce(std::io::Error) -> Kind {
    move |source| Kind::Io { action, source }
}

/// The same for a file that is open already; `path` is for messages.
pub(crate) fn open_file(file: File, path: &Path, host: &HostChecks) -> Result<LoadedCode, ArtifactError> {
    load_file(file, path, host).map_err(|kind| ArtifactError { path: path.to_owned(), kind })
}

fn load(path: &Path, host: &HostChecks) -> Result<LoadedCode, Kind> {
    // Opening a pipe without a writer would wait for one.
    let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path).map_err(io("open"))?;
    load_file(file, path, host)
}

fn load_file(file: File, path: &Path, host: &HostChecks) -> Result<LoadedCode, Kind> {
    let metadata = file.metadata().map_err(io("read the size"))?;
    if !metadata.is_file() {
        return Err(Kind::NotAFile);
    }
    // Taken before anything is hashed: what is written later makes it differ.
    let stamp = Stamp::new(path, &metadata);
    let mut start = [0u8; HEADER_END];
    let read = read_start(&file, &mut start).map_err(io("read the header"))?;
    let header = check(&start[..read], metadata.len(), host)?;
    let len = usize::try_from(header.file_size).map_err(|_| Kind::HeaderDamaged("the file size cannot be mapped".into()))?;
    // The file may be cut off while it is hashed. A thread that cannot take signals reads it as it is.
    let _ = crate::vm::signals::prepare_thread();
    let map = Mmap::read_only(file.as_fd(), len).map_err(|e| io("map the file")(e.into()))?;
    populate(&map, &header, host);
    let sections = sections(&header, &map);
    // What was checked and what is mapped could be two files, if it was written to in between.
    // SAFETY: the mapping has at least `HEADER_END` bytes, as the header's check made sure.
    let mapped = unsafe { std::slice::from_raw_parts(map.as_ptr().add(HEADER_OFFSET), size_of::<Header>()) };
    if mapped != header.as_bytes() {
        return Err(Kind::HeaderDamaged("it changed while it was read".into()));
    }
    for kind in HASHED {
        verify(&header, &sections, *kind)?;
    }
    if !host.trust_text {
        verify(&header, &sections, SectionKind::Text)?;
    }
    let (meta, rest): (ArtifactMeta, _) =
        postcard::take_from_bytes(sections.bytes(SectionKind::Meta)).map_err(|e| Kind::Invalid(format!("metadata: {e}")))?;
    if !rest.is_empty() {
        return Err(Kind::Invalid(format!("{} bytes behind the metadata", rest.len())));
    }
    let text = &header.sections[SectionKind::Text as usize];
    let checked = validate(&meta, &sections, text.size as usize, Some(&header))?;
    // The interpreter relies on function bodies being those that were validated.
    // What a trap in metered code left undone is found by decoding them.
    if checked.uncompiled == Uncompiled::Some || header.tunables & METER_BIT != 0 {
        verify(&header, &sections, SectionKind::Wasm)?;
    }
    let pages = text.offset as usize..(text.offset + text.size).next_multiple_of(page_size() as u64) as usize;
    // SAFETY: nothing writes to this mapping, which is private and was made for reading; its text matches the digest, or
    // the caller trusts the folder.
    unsafe { map.make_executable(pages) }.map_err(|e| Kind::NotExecutable(e.into()))?;
    let start = map.as_ptr().addr() + text.offset as usize;
    let file = meta.images.iter().any(Option::is_some).then_some(file);
    Ok(LoadedCode {
        text: start..start + text.size as usize,
        meta,
        sections,
        order: checked.order,
        piece: None,
        messages: OnceLock::new(),
        backing: Backing::Artifact { map, file, header: Box::new(header), stamp },
    })
}

/// Maps the pages that are about to be hashed in a call or two, instead of by a page fault for every few of them.
fn populate(map: &Mmap, header: &Header, host: &HostChecks) {
    /// Reading a gap this large costs as much as another call.
    const GAP: usize = 64 << 10;
    let text = (!host.trust_text).then_some(SectionKind::Text);
    let mut ranges = [(0, HEADER_END); HASHED.len() + 2];
    for (range, kind) in ranges[1..].iter_mut().zip(HASHED.iter().chain(&text)) {
        let entry = &header.sections[*kind as usize];
        *range = (entry.offset as usize, (entry.offset + entry.size) as usize);
    }
    ranges.sort_unstable();
    let (mut start, mut end) = (0, 0);
    for (s, e) in ranges {
        if s > end + GAP {
            map.populate(start..end.next_multiple_of(page_size()));
            start = s - s % page_size();
        }
        end = end.max(e);
    }
    map.populate(start..end.next_multiple_of(page_size()));
}

/// Reads the first bytes of a file, fewer if it is shorter.
fn read_start(file: &File, bytes: &mut [u8]) -> std::io::Result<usize> {
    let mut read = 0;
    while read < bytes.len() {
        match file.read_at(&mut bytes[read..], read as u64) {
            Ok(0) => break,
            Ok(n) => read += n,
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(read)
}

fn sections(header: &Header, map: &Mmap) -> Sections {
    let mut sections = Sections::default();
    for kind in SectionKind::ALL {
        let entry = &header.sections[*kind as usize];
        if entry.size != 0 {
            // SAFETY: the header's check made sure that the section lies in the file, all of which is mapped; the mapping
            // goes where the sections go.
            sections.set(*kind, unsafe { Section::new(map.as_ptr().add(entry.offset as usize), entry.size as usize) });
        }
    }
    sections
}

/// Compares a section with its digest.
fn verify(header: &Header, sections: &Sections, kind: SectionKind) -> Result<(), Kind> {
    let entry = &header.sections[kind as usize];
    if entry.size == 0 && entry.digest == [0; 32] {
        return Ok(());
    }
    if digest_of(sections.bytes(kind)) != entry.digest {
        return Err(Kind::Digest { section: kind.elf_name() });
    }
    Ok(())
}

/// Whether a section is what its digest says.
pub(crate) fn is_section_intact(header: &Header, sections: &Sections, kind: SectionKind) -> bool {
    verify(header, sections, kind).is_ok()
}

/// Compares the sections that only messages need with their digests.
pub(crate) fn verify_messages(header: &Header, sections: &Sections) -> Result<(), Kind> {
    MESSAGES.iter().try_for_each(|kind| verify(header, sections, *kind))
}

/// Compares every section with its digest, also those that opening leaves out.
pub(crate) fn verify_all(header: &Header, sections: &Sections) -> Result<(), Kind> {
    SectionKind::ALL.iter().try_for_each(|kind| verify(header, sections, *kind))
}
