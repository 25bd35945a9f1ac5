#!/usr/bin/env python3
"""What a call of WASI costs: natively (the bare system call), on wasmc, on Wasmtime.

    compare.py [--runs N] [--only NAME,NAME]

Prints nanoseconds of CPU a call: the difference between a run of many calls and one of few, divided by the calls, best of --runs,
all in turns. The native twin is built with $CC (cc) -O2 into $BUILD (target/wasi_calls). $WASMC is the executable
(target/release/wasmc) and $WT Wasmtime's (left out if there is none).
"""
import argparse, os, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, '../../..'))
BUILD = os.environ.get('BUILD', os.path.join(ROOT, 'target/wasi_calls'))
WASMC = os.environ.get('WASMC', os.path.join(ROOT, 'target/release/wasmc'))
WT = os.environ.get('WT', shutil.which('wasmtime') or '')
# Calls of the longer run: about half a second each.
CALLS = {'nothing': 1_000_000_000, 'clock_time_get': 20_000_000, 'args_sizes_get': 100_000_000, 'write_1': 4_000_000, 'write_4096': 4_000_000,
         'read_4096': 4_000_000, 'pread_4096': 3_000_000}
NO_NATIVE = ('nothing', 'args_sizes_get')


def cpu(command):
    with open('/dev/zero', 'rb') as zero, open('/dev/null', 'wb') as null:
        child = subprocess.Popen(command, stdin=zero, stdout=null, stderr=subprocess.PIPE)
        said = child.stderr.read()
        _, status, usage = os.wait4(child.pid, 0)
    if status:
        sys.exit(f'{command} ended with {os.waitstatus_to_exitcode(status)}: {said.decode(errors="replace")}')
    return usage.ru_utime + usage.ru_stime


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--runs', type=int, default=5); a.add_argument('--only')
    args = a.parse_args()
    data = f'{BUILD}/data'
    os.makedirs(data, exist_ok=True)
    with open(f'{data}/page', 'wb') as f:
        f.write(b'7' * 4096)
    out = f'{BUILD}/calls'
    subprocess.run([os.environ.get('CC', 'cc'), '-O2', f'{HERE}/calls.c', '-o', f'{out}.native'], check=True)
    subprocess.run([WASMC, 'compile', '--quiet', f'{HERE}/calls.wat', '-o', f'{out}.so'], check=True)
    ways = {'native': lambda name, n: [f'{out}.native', name, n, f'{data}/page'],
            'wasmc': lambda name, n: [WASMC, 'run', '--dir', f'{data}::/', '--invoke', name, f'{out}.so', n]}
    if WT:
        subprocess.run([WT, 'compile', f'{HERE}/calls.wat', '-o', f'{out}.cwasm'], check=True)
        ways['Wasmtime'] = lambda name, n: [WT, 'run', '--allow-precompiled', '--dir', f'{data}::/', '--invoke', name, f'{out}.cwasm', n]
    print(f"{'ns a call':16}" + ''.join(f'{way:>10}' for way in ways) + f"{'wasmc/native':>14}{'more':>8}")
    for name, calls in CALLS.items():
        if args.only and name not in args.only.split(','):
            continue
        counts, best = (calls // 10, calls), {}
        for _ in range(args.runs):
            for way, command in ways.items():
                if way == 'native' and name in NO_NATIVE:
                    continue
                for n in counts:
                    seconds = cpu(command(name, str(n)))
                    best[way, n] = min(seconds, best.get((way, n), seconds))
        cost = {way: (best[way, counts[1]] - best[way, counts[0]]) * 1e9 / (counts[1] - counts[0]) for way in ways if (way, calls) in best}
        line = f'{name:16}' + ''.join(f'{cost[way]:10.1f}' if way in cost else f"{'-':>10}" for way in ways)
        if 'native' in cost:
            line += f"{cost['wasmc'] / cost['native']:14.2f}{cost['wasmc'] - cost['native']:8.1f}"
        print(line, flush=True)


main()
