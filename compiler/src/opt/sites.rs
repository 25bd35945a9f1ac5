//! Where inlined code comes from. An instruction's source location in CLIF is the offset of its wasm instruction. In an inlined
//! body it is a number above all offsets instead: each place in which a body was put has a range of numbers, one for each of the
//! body's bytes. So Cranelift needs to know nothing, and the numbers lead back to the instruction and the calls.

use crate::fuse::CHARGE;
use cranelift_codegen::ir::SourceLoc;
use std::ops::Range;
use wasmc_environ::FuncIndex;
use wasmc_environ::artifact::{InlineSite, NO_SITE};

/// The lowest number that is no offset. Larger modules are compiled without inlining.
pub const FIRST_LOCATION: u32 = 0x4000_0000;
/// Above the highest: the highest bit marks charges.
const END_OF_LOCATIONS: u32 = CHARGE - 1;

/// A place in which a body stands.
#[derive(Copy, Clone, Debug)]
struct Place {
    /// Number of the body's first byte.
    first: u32,
    /// Offset of that byte in the module.
    body: u32,
    site: InlineSite,
}

/// The bodies that were inlined into a function. The sites' numbers count from this function's first.
#[derive(Clone, Debug, Default)]
pub struct Sites {
    places: Vec<Place>,
    /// How many numbers are taken.
    taken: u32,
}

/// How the locations of an inlined body are renumbered.
#[derive(Copy, Clone, Debug)]
pub struct Shift {
    first: u32,
    body: u32,
    nested: u32,
}

impl Shift {
    /// The location of an instruction in the place, by that in the body.
    pub fn apply(self, location: SourceLoc) -> SourceLoc {
        if location.is_default() {
            return location;
        }
        let mark = location.bits() & CHARGE;
        SourceLoc::new(
            match location.bits() & !CHARGE {
                nested @ FIRST_LOCATION.. => nested - FIRST_LOCATION + self.nested,
                offset => offset.saturating_sub(self.body) + self.first,
            } | mark,
        )
    }
}

impl Sites {
    /// Adds a place for `callee`, whose body are these bytes of the module and contains the places `inner`, at a call at
    /// `call`. `None` if there are no numbers left.
    pub fn add(&mut self, callee: FuncIndex, body: Range<u64>, inner: &Self, call: u32) -> Option<Shift> {
        let size = u32::try_from(body.end.checked_sub(body.start)?).ok()?.checked_add(1)?;
        let body = u32::try_from(body.start).ok().filter(|b| *b < FIRST_LOCATION)?;
        let first = FIRST_LOCATION.checked_add(self.taken)?;
        let nested = first.checked_add(size)?;
        let end = nested.checked_add(inner.taken)?;
        if end > END_OF_LOCATIONS || call >= FIRST_LOCATION {
            return None;
        }
        let number = self.places.len() as u32;
        self.places.push(Place { first, body, site: InlineSite { parent: NO_SITE, callee: callee.as_u32(), wasm_offset: call } });
        self.places.extend(inner.places.iter().map(|p| Place {
            first: p.first - FIRST_LOCATION + nested,
            body: p.body,
            site: InlineSite { parent: if p.site.parent == NO_SITE { number } else { p.site.parent + number + 1 }, ..p.site },
        }));
        self.taken = end - FIRST_LOCATION;
        Some(Shift { first, body, nested })
    }

    /// The site and the offset in the module that a location stands for.
    pub fn resolve(&self, location: u32) -> (u32, u32) {
        if location < FIRST_LOCATION {
            return (NO_SITE, location);
        }
        match self.places.partition_point(|p| p.first <= location).checked_sub(1) {
            Some(i) => (i as u32, location - self.places[i].first + self.places[i].body),
            None => (NO_SITE, location),
        }
    }

    /// The sites, and their new numbers in `renumbered`, without those from which no code is left. `used` is in no order.
    pub fn used(&self, used: impl Iterator<Item = u32>) -> (Box<[InlineSite]>, Vec<u32>) {
        let mut keep = vec![false; self.places.len()];
        for site in used {
            if let Some(k) = keep.get_mut(site as usize) {
                *k = true;
            }
        }
        // Children stand behind their parents.
        for i in (0..keep.len()).rev().filter(|i| keep[*i]).collect::<Vec<_>>() {
            let mut parent = self.places[i].site.parent;
            while let Some(k) = keep.get_mut(parent as usize).filter(|k| !**k) {
                *k = true;
                parent = self.places[parent as usize].site.parent;
            }
        }
        let mut renumbered = vec![NO_SITE; self.places.len()];
        let mut sites = Vec::new();
        for (i, place) in self.places.iter().enumerate().filter(|(i, _)| keep[*i]) {
            renumbered[i] = sites.len() as u32;
            let parent = renumbered.get(place.site.parent as usize).copied().unwrap_or(NO_SITE);
            sites.push(InlineSite { parent, ..place.site });
        }
        (sites.into(), renumbered)
    }
}
