//! Verifies files.
fn main() {
    for f in std::env::args().skip(1) {
        let bytes = std::fs::read(&f).unwrap();
        let t = std::time::Instant::now();
        match wasmc_verify::verify(&bytes) {
            Ok(r) => println!("{f}: ok {r:?} {:?}", t.elapsed()),
            Err(wasmc_verify::Refused::Unproved(l)) => {
                println!("{f}: {} findings {:?}", l.len(), t.elapsed());
                for x in l.iter().take(8) {
                    println!("    {x}");
                }
            }
            Err(e) => println!("{f}: {e}"),
        }
    }
}
