//! Functions that are left to the interpreter. It relies on what validation has established, and the loader does not validate: it takes
//! the word of the artifact's digests. So where a function has no native code, the original module is validated here, and must be the
//! one that the metadata, and with it the native code, was proved against.

use crate::Finding;
use wasmc_environ::Module;
use wasmc_environ::artifact::{FUNC_COMPILED, SectionKind};
use wasmc_environ::decode::decode_and_validate;
use wasmc_environ::features::Features;
use wasmc_environ::scan::add_facts_of_bodies;
use wasmc_runtime::ArtifactContents;

/// Whether interpreted functions, if there are any, are valid, and of the module that the metadata describes.
pub fn check(contents: &ArtifactContents, module: &Module) -> Result<(), Finding> {
    if contents.functions().iter().all(|f| f.flags & FUNC_COMPILED != 0) {
        return Ok(());
    }
    let finding = |problem: String| Finding { offset: None, function: String::new(), problem };
    let wasm = contents.section(SectionKind::Wasm);
    let invalid = |e| finding(format!("functions are interpreted, but the module in the artifact is not valid: {e}"));
    // Whichever proposals: the interpreter has them all, and what is valid with some is valid with all.
    let mut decoded = decode_and_validate(wasm, &Features::all()).map_err(invalid)?;
    add_facts_of_bodies(&mut decoded, wasm).map_err(invalid)?;
    if decoded == *module {
        Ok(())
    } else {
        Err(finding("functions are interpreted, but the module in the artifact is not the one that the metadata describes".into()))
    }
}
