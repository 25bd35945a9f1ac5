//! What the tests of the embedding interface share: an engine a tier, and short ways to modules and instances.

#![allow(dead_code, reason = "each test file uses a part")]

use std::sync::Arc;
use wasmc_runtime::*;

/// An engine a tier, with its name. Each may make shared memories.
pub fn engines() -> Vec<(&'static str, Engine)> {
    let compiled = |interpret| Config::new().tier(Tier::Compiled).compiler(Arc::new(wasmc_compiler::Jit::default())).interpret(interpret);
    let configs = [
        ("interpreted", Config::new().tier(Tier::Interpreted)),
        ("compiled", compiled(vec![])),
        ("mixed", compiled(vec![Interpret::Odd])),
        ("all left uncompiled", compiled(vec![Interpret::All])),
        ("explicit checks", compiled(vec![]).static_memory(false)),
    ];
    let features = Features { shared_memory: true, ..Features::default() };
    let config = |config: Config| config.stack_size(1 << 20).features(features.clone());
    configs.into_iter().map(|(name, c)| (name, Engine::new(config(c)).expect("a valid configuration"))).collect()
}

/// Runs a test with an engine of every tier.
pub fn on_every_tier(test: impl Fn(&Engine)) {
    for (name, engine) in engines() {
        eprintln!("tier: {name}");
        test(&engine);
    }
}

/// A module from text.
pub fn module(engine: &Engine, text: &str) -> Module {
    Module::new(engine, wat::parse_str(text).expect("valid text")).expect("a valid module")
}

/// An instance of a module without imports.
pub fn instance<T>(store: &mut Store<T>, text: &str) -> Instance {
    let module = module(&store.engine().clone(), text);
    Instance::new(store, &module, &[]).expect("an instance")
}

/// An exported function with its type.
pub fn func<T, P: WasmParams, R: WasmResults>(store: &mut Store<T>, instance: Instance, name: &str) -> TypedFunc<P, R> {
    instance.get_typed_func(store, name).expect("an exported function of this type")
}

/// The trap behind an error.
pub fn trap(error: &Error) -> TrapCode {
    error.downcast_ref::<Trap>().unwrap_or_else(|| panic!("not a trap: {error:?}")).code()
}
