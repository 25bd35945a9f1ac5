#!/usr/bin/env python3
"""What a time-out costs that does not come to pass, in instructions: callgrind's counts of the same artifact with and without.

    compare.py [--program FILE.wasm ARGUMENT...] [--limit RATIO]

Without --program, a loop of 30 million turns and a million calls of a WASI function. Artifacts are compiled with --cpu baseline, since
valgrind does not know every instruction set. Prints the instructions of the whole process for runs without options, with --timeout, and with --stats (which has the host's functions timed: it is meant to cost). An artifact contains code
for tracing or metering only if it is compiled with --trace or --meter, and nothing samples without --profile: the plain run is the
run with all of them off. Exit status 1 if a time-out costs more than --limit (1.001) of the whole. $WASMC is the executable.
"""
import argparse, os, re, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
WASMC = os.path.abspath(os.environ.get('WASMC', os.path.join(HERE, '../../../target/release/wasmc')))
TEXT = '''(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "_start") (local $i i32)
    (loop $turn
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $turn (i32.lt_u (local.get $i) (i32.const 30000000))))
    (local.set $i (i32.const 0))
    (loop $call
      (drop (call $clock (i32.const 1) (i64.const 0) (i32.const 8)))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $call (i32.lt_u (local.get $i) (i32.const 1000000))))))'''


def count(folder, command):
    """Instructions of the process."""
    out = os.path.join(folder, 'callgrind.out')
    done = subprocess.run(['valgrind', '--tool=callgrind', f'--callgrind-out-file={out}', *command], stdout=subprocess.DEVNULL,
                          stderr=subprocess.PIPE, text=True)
    if done.returncode:
        sys.exit(f'{command} ended with {done.returncode}:\n{done.stderr}')
    return int(re.search(r'^summary: (\d+)', open(out).read(), re.M)[1])


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--program', nargs='+'); a.add_argument('--limit', type=float, default=1.001)
    args = a.parse_args()
    if not shutil.which('valgrind'):
        sys.exit('valgrind is missing')
    with tempfile.TemporaryDirectory() as folder:
        program = args.program or [os.path.join(folder, 'program.wat')]
        if not args.program:
            open(program[0], 'w').write(TEXT)
        artifact = os.path.join(folder, 'program.so')
        subprocess.run([WASMC, 'compile', '--quiet', '--cpu', 'baseline', program[0], '-o', artifact], check=True)
        print(f"{'run':24}{'instructions':>16}{'more':>16}{'ratio':>9}")
        first = None
        for options in [], ['--timeout', '10h'], ['--stats']:
            total = count(folder, [WASMC, 'run', *options, artifact, *program[1:]])
            first = first or total
            print(f"{' '.join(options) or 'plain':24}{total:16,}{total - first:16,}{total / first:9.5f}", flush=True)
            if '--timeout' in options and total > first * args.limit:
                sys.exit(f'an armed time-out costs more than {args.limit} times')


main()
