//! BLAKE3 of sections. Large ones are hashed as subtrees on several threads: all of a large text is read at the start,
//! and that decides how soon the program runs.

use blake3::Hasher;
use blake3::hazmat::{ChainingValue, HasherExt, Mode, left_subtree_len, merge_subtrees_non_root, merge_subtrees_root};

/// Bytes that are worth a thread of their own: starting one costs about as much as hashing 200 KiB.
const PER_THREAD: usize = 1 << 20;
/// More threads gain little, since reading the pages becomes the limit.
const MAX_THREADS: usize = 8;

/// The digest of a section.
pub(crate) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    if bytes.len() < 2 * PER_THREAD {
        return *blake3::hash(bytes).as_bytes();
    }
    on_threads(bytes, (bytes.len() / PER_THREAD).min(processors()).min(MAX_THREADS))
}

/// How many processors this process may run on.
fn processors() -> usize {
    rustix::thread::sched_getaffinity(None).map_or(1, |set| set.count() as usize)
}

fn on_threads(bytes: &[u8], threads: usize) -> [u8; 32] {
    if threads < 2 || bytes.len() <= blake3::CHUNK_LEN {
        return *blake3::hash(bytes).as_bytes();
    }
    let (left, right) = bytes.split_at(left_subtree_len(bytes.len() as u64) as usize);
    let (left, right) = both(left, 0, right, threads);
    *merge_subtrees_root(&left, &right, Mode::Hash).as_bytes()
}

/// The chaining value of a subtree that begins at `offset` of the whole.
fn subtree(bytes: &[u8], offset: u64, threads: usize) -> ChainingValue {
    if threads < 2 || bytes.len() <= blake3::CHUNK_LEN {
        return Hasher::new().set_input_offset(offset).update(bytes).finalize_non_root();
    }
    let (left, right) = bytes.split_at(left_subtree_len(bytes.len() as u64) as usize);
    let (left, right) = both(left, offset, right, threads);
    merge_subtrees_non_root(&left, &right, Mode::Hash)
}

/// Two subtrees, the second on this thread. The first is the larger one and gets its share of the threads.
fn both(left: &[u8], offset: u64, right: &[u8], threads: usize) -> (ChainingValue, ChainingValue) {
    let share = |part: usize| (threads * part).div_ceil(left.len() + right.len()).clamp(1, threads - 1);
    let for_left = share(left.len());
    std::thread::scope(|scope| {
        let first = std::thread::Builder::new().spawn_scoped(scope, move || subtree(left, offset, for_left));
        let second = subtree(right, offset + left.len() as u64, threads - for_left);
        // Where no thread can be started, or one dies, this one does the work.
        let first = first.ok().and_then(|f| f.join().ok()).unwrap_or_else(|| subtree(left, offset, 1));
        (first, second)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_do_not_change_the_digest() {
        let bytes: Vec<u8> = (0..5_000_003u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        for len in [0, 1, 1023, 1024, 1025, 2047, 2048, 2049, 65_536, 70_000, 1 << 20, (1 << 20) + 1, 3_145_728, bytes.len()] {
            let expected = *blake3::hash(&bytes[..len]).as_bytes();
            for threads in [1, 2, 3, 4, 5, 8, 16] {
                assert_eq!(on_threads(&bytes[..len], threads), expected, "{len} bytes on {threads} threads");
            }
            assert_eq!(digest_of(&bytes[..len]), expected);
        }
    }
}
