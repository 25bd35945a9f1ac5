//! Metering in the interpreter: instructions of its own at the beginnings of functions and regions, which are only there in
//! code that was translated for an engine that meters.

use super::dispatch::*;
use wasmc_environ::TrapCode;

op! {
    /// Takes word 1 from the fuel, or traps.
    charge[] |r| {
        let meter = (*r.cx).meter;
        let cost = word::<1>(&r) as i64;
        if (*meter).fuel < cost {
            trap!(r, TrapCode::OutOfFuel)
        }
        (*meter).fuel -= cost;
        next!(r, 2)
    }

    /// The same, and counts as many instructions as word 2 says.
    charge_apart[] |r| {
        let meter = (*r.cx).meter;
        let cost = word::<1>(&r) as i64;
        if (*meter).fuel < cost {
            trap!(r, TrapCode::OutOfFuel)
        }
        (*meter).fuel -= cost;
        (*meter).instructions += word::<2>(&r);
        next!(r, 3)
    }

    /// Counts a function that is entered.
    count_call[] |r| {
        (*(*r.cx).meter).calls += 1;
        next!(r, 2)
    }
}
