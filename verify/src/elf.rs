//! The ELF structure around an artifact. The loader does not read it, but tools do, and somebody may hand the file to `dlopen`: so
//! nothing in it may be writable, need relocations or other libraries, or run before it is asked to.

use crate::Finding;
use object::LittleEndian as LE;
use object::elf;
use object::read::elf::{Dyn, FileHeader, ProgramHeader, SectionHeader};
use wasmc_environ::artifact::{Header, SectionKind};

const DYNAMIC: [u32; 7] = [
    elf::DT_NULL.0 as u32,
    elf::DT_SONAME.0 as u32,
    elf::DT_HASH.0 as u32,
    elf::DT_STRTAB.0 as u32,
    elf::DT_SYMTAB.0 as u32,
    elf::DT_STRSZ.0 as u32,
    elf::DT_SYMENT.0 as u32,
];

/// Checks the file around the header.
pub fn check(file: &[u8], header: &Header) -> Result<(), Finding> {
    structure(file, header).map_err(|problem| Finding {
        offset: None,
        function: String::new(),
        problem: format!("ELF structure: {problem}"),
    })
}

fn structure(file: &[u8], header: &Header) -> Result<(), String> {
    let unreadable = |e: object::Error| e.to_string();
    let elf_header = elf::FileHeader64::<LE>::parse(file).map_err(unreadable)?;
    let endian = elf_header.endian().map_err(unreadable)?;
    if elf_header.e_type(endian) != elf::ET_DYN || elf_header.e_entry(endian) != 0 {
        return Err("it is no shared object without an entry".into());
    }
    let text = &header.sections[SectionKind::Text as usize];
    for p in elf_header.program_headers(endian, file).map_err(unreadable)? {
        let flags = p.p_flags(endian);
        let (offset, address, size) = (p.p_offset(endian), p.p_vaddr(endian), p.p_filesz(endian));
        if flags.0 & elf::PF_W.0 != 0 && p.p_type(endian) != elf::PT_GNU_STACK {
            return Err("a segment is writable".into());
        }
        match p.p_type(endian) {
            elf::PT_LOAD => {
                if offset != address || p.p_memsz(endian) != size {
                    return Err("a segment is not mapped as it lies in the file".into());
                }
                let is_text = offset == text.offset && size == text.size;
                if (flags.0 & elf::PF_X.0 != 0) != (is_text && size != 0) {
                    return Err("another range is executable than the text".into());
                }
            }
            elf::PT_GNU_STACK if flags.0 & elf::PF_X.0 != 0 => return Err("it asks for an executable stack".into()),
            elf::PT_INTERP | elf::PT_TLS => return Err("it has a program header that it cannot need".into()),
            elf::PT_DYNAMIC => {
                let entries = p.dynamic(endian, file).map_err(unreadable)?.unwrap_or_default();
                for d in entries {
                    let tag = d.d_tag(endian);
                    if !DYNAMIC.iter().any(|known| i64::from(*known) == tag.0) {
                        return Err(format!(
                            "the dynamic section has an entry of kind {:#x}: relocations, dependencies or code that runs at load",
                            tag.0
                        ));
                    }
                }
            }
            _ => {}
        }
    }
    let sections = elf_header.sections(endian, file).map_err(unreadable)?;
    for s in sections.iter() {
        if matches!(s.sh_type(endian), elf::SHT_REL | elf::SHT_RELA | elf::SHT_INIT_ARRAY | elf::SHT_FINI_ARRAY | elf::SHT_PREINIT_ARRAY) {
            return Err("it has relocations or functions that run at load".into());
        }
    }
    Ok(())
}
