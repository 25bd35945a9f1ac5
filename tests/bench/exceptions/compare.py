#!/usr/bin/env python3
"""Programs that raise errors through C's setjmp and longjmp, which are WebAssembly exceptions: natively, on Wasmtime, on wasmc.

    compare.py [--build] [--runs N] [--only NAME,NAME] [--limit RATIO]

Prints user+system CPU seconds of the whole process, best of --runs, and ratios to the native program, all of one run. Native twins are
built with $CC (clang-19) -O2 into $BUILD (target/exceptions). --build makes the wasm files anew, with $ZIG (`zig`; `pip install ziglang`
gives it as `python3 -m ziglang`). $WASMC is the executable (target/release/wasmc) and $WT Wasmtime's (left out if there is none).
With --limit the exit status is 1 if wasmc takes more than that many times the native time.
"""
import argparse, math, os, shlex, shutil, subprocess, sys

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, '../../..'))
BUILD = os.environ.get('BUILD', os.path.join(ROOT, 'target/exceptions'))
WASMC = os.environ.get('WASMC', os.path.join(ROOT, 'target/release/wasmc'))
WT = os.environ.get('WT', shutil.which('wasmtime') or '')
PROGRAMS = ['deep', 'nested', 'overflow', 'parse', 'storm']


def build_wasm(name):
    zig = shlex.split(os.environ.get('ZIG', 'zig')) + ['cc', '-target', 'wasm32-wasi']
    tag, out = f'{BUILD}/longjmp-tag.o', f'{HERE}/{name}.wasm'
    subprocess.run([*zig, '-c', f'{HERE}/src/longjmp-tag.S', '-o', tag], check=True)
    subprocess.run([*zig, '-O2', '-mexception-handling', '-mllvm', '-wasm-enable-sjlj', '-mllvm', '-wasm-use-legacy-eh=false',
                    '-Wl,-z,stack-size=8388608', '-Wl,--strip-debug', f'{HERE}/src/{name}.c', tag, '-o', out], check=True)
    os.chmod(out, 0o644)


def cpu(command, runs):
    """Least CPU seconds, and what was printed."""
    best = None
    for _ in range(runs):
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        text = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        if status:
            sys.exit(f'{shlex.join(command)} ended with {os.waitstatus_to_exitcode(status)}')
        seconds = usage.ru_utime + usage.ru_stime
        best = seconds if best is None else min(best, seconds)
    return best, text


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--build', action='store_true'); a.add_argument('--runs', type=int, default=5)
    a.add_argument('--only'); a.add_argument('--limit', type=float)
    args = a.parse_args()
    os.makedirs(BUILD, exist_ok=True)
    print(f"{'program':10}{'native':>9}{'wasmc':>9}{'ratio':>7}" + (f"{'Wasmtime':>10}{'ratio':>7}" if WT else ''))
    ratios, slow = [], []
    for name in PROGRAMS:
        if args.only and name not in args.only.split(','):
            continue
        if args.build:
            build_wasm(name)
        wasm, out = f'{HERE}/{name}.wasm', f'{BUILD}/{name}'
        subprocess.run([os.environ.get('CC', 'clang-19'), '-O2', f'{HERE}/src/{name}.c', '-o', f'{out}.native'], check=True)
        subprocess.run([WASMC, 'compile', '--quiet', wasm, '-o', f'{out}.so'], check=True)
        native, expected = cpu([f'{out}.native'], args.runs)
        ours, text = cpu([WASMC, 'run', f'{out}.so'], args.runs)
        if text != expected:
            sys.exit(f'{name}: wasmc prints {text}, native {expected}')
        line = f'{name:10}{native:9.3f}{ours:9.3f}{ours / native:7.2f}'
        if WT:
            flags = ['-W', 'exceptions=y,max-wasm-stack=67108864,async-stack-size=134217728']
            subprocess.run([WT, 'compile', *flags, wasm, '-o', f'{out}.cwasm'], check=True)
            theirs, _ = cpu([WT, 'run', '--allow-precompiled', *flags, f'{out}.cwasm'], 1)
            line += f'{theirs:10.3f}{theirs / native:7.1f}'
        print(line, flush=True)
        ratios.append(ours / native)
        if args.limit and ours > args.limit * native:
            slow.append(name)
    print(f'geometric mean of the ratios of wasmc: {math.exp(sum(map(math.log, ratios)) / len(ratios)):.2f}')
    if slow:
        sys.exit(f"slower than {args.limit} times native: {', '.join(slow)}")


main()
