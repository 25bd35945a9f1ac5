//! `.eh_frame` and its search table: with them debuggers and profilers unwind through generated code without knowing
//! wasmc. The runtime never reads them. Addresses are relative, so nothing has to be relocated.

use crate::function::CompiledFunction;
use crate::symbols::Symbol;
use crate::text::Placement;
use cranelift_codegen::isa::TargetIsa;
use gimli::constants::{DW_EH_PE_datarel, DW_EH_PE_pcrel, DW_EH_PE_sdata4, DW_EH_PE_udata4};
use gimli::write::{Address, EhFrame as Writer, EndianVec, FrameTable};
use wasmc_environ::jit::CompileError;

/// Unwind information before it has an address.
pub struct EhFrame {
    bytes: Vec<u8>,
    /// For each entry its offset in `bytes`, and where its code is in the text; sorted by the latter.
    entries: Vec<(u32, Placement)>,
}

/// Distance from the start of an entry to the field with the address of its code: behind length and CIE pointer.
const ADDRESS_FIELD: u32 = 8;

impl EhFrame {
    /// The unwind information of all items that have some.
    pub fn new(isa: &dyn TargetIsa, items: &[(Symbol, CompiledFunction)], placements: &[Placement]) -> Result<Self, CompileError> {
        let mut table = FrameTable::default();
        let mut places = Vec::with_capacity(items.len());
        if let Some(mut cie) = isa.create_systemv_cie() {
            cie.fde_address_encoding = DW_EH_PE_pcrel | DW_EH_PE_sdata4;
            let cie = table.add_cie(cie);
            for ((_, f), place) in items.iter().zip(placements) {
                if let Some(info) = &f.unwind {
                    // The right address and size are written by `locate`.
                    table.add_fde(cie, info.to_fde(Address::Constant(0)));
                    places.push(*place);
                }
            }
        }
        let mut writer = Writer(EndianVec::new(gimli::LittleEndian));
        table.write_eh_frame(&mut writer).map_err(|e| CompileError::Output(format!("cannot write the unwind information: {e}")))?;
        let mut bytes = writer.0.into_vec();
        let offsets = entry_offsets(&bytes);
        if offsets.len() != places.len() {
            return Err(CompileError::Output("the unwind information is not as long as it should be".into()));
        }
        if !bytes.is_empty() {
            // A length of 0 ends the section.
            bytes.extend_from_slice(&[0; 4]);
        }
        Ok(Self { bytes, entries: offsets.into_iter().zip(places).collect() })
    }

    /// Size of `.eh_frame`.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }

    /// Size of `.eh_frame_hdr`.
    pub fn header_size(&self) -> usize {
        if self.bytes.is_empty() { 0 } else { 12 + 8 * self.entries.len() }
    }

    /// `.eh_frame_hdr` and `.eh_frame` for these addresses of both and of the text.
    pub fn locate(&mut self, header: u64, frames: u64, text: u64) -> (Vec<u8>, Vec<u8>) {
        let mut bytes = std::mem::take(&mut self.bytes);
        let mut table = Vec::with_capacity(self.header_size());
        if bytes.is_empty() {
            return (table, bytes);
        }
        // All distances are below 2 GiB: `text::link` has checked the text, and the rest is smaller.
        let from = |base: u64, address: u64| ((address as i64 - base as i64) as i32).to_le_bytes();
        table.extend_from_slice(&[1, (DW_EH_PE_pcrel | DW_EH_PE_sdata4).0, DW_EH_PE_udata4.0, (DW_EH_PE_datarel | DW_EH_PE_sdata4).0]);
        table.extend_from_slice(&from(header + 4, frames));
        table.extend_from_slice(&(self.entries.len() as u32).to_le_bytes());
        for (entry, code) in &self.entries {
            let field = entry + ADDRESS_FIELD;
            let size = code.size.to_le_bytes();
            let code = text + u64::from(code.offset);
            bytes[field as usize..field as usize + 4].copy_from_slice(&from(frames + u64::from(field), code));
            bytes[field as usize + 4..field as usize + 8].copy_from_slice(&size);
            table.extend_from_slice(&from(header, code));
            table.extend_from_slice(&from(header, frames + u64::from(*entry)));
        }
        (table, bytes)
    }
}

/// The offsets of the FDEs: entries whose second word, the distance back to their CIE, is not 0.
fn entry_offsets(bytes: &[u8]) -> Vec<u32> {
    let word = |at: usize| bytes.get(at..at + 4).and_then(|b| b.try_into().ok()).map(u32::from_le_bytes);
    let mut offsets = Vec::new();
    let mut at = 0;
    while let (Some(length), Some(cie)) = (word(at), word(at + 4)) {
        if cie != 0 {
            offsets.push(at as u32);
        }
        at += length as usize + 4;
    }
    offsets
}
