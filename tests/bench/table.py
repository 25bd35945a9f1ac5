#!/usr/bin/env python3
"""One table of wasmc's speed beside its peers', everything measured in this one run, each figure in turns with what it is compared to.

    table.py --corpus FOLDER [--runs N] [--parts corpus,compile,start,auto,interpreter,process] [--only NAME,NAME]

The corpus is a folder of programs with a `compare.py` that reads their `cmd.txt`; large programs are in its `large/`. Executables: $WASMC
(target/release/wasmc), $WT (wasmtime) and $WASMI (wasmi), the latter two from PATH if not set; a peer that is missing is left out, and the
table says so. CPU is user and system time of the whole process. Parts:

    corpus       CPU of every program: Wasmtime, wasmc, native
    compile      wall time, peak memory and size of the output of compiling the large programs
    start        hello world and `-c pass` of CPython from an artifact: CPU and page faults, native hello beside it
    auto         CPython's hello straight from the .wasm, no cache on either side: wall time
    interpreter  the kernels on the interpreters, and the time until a large .wasm has said its version
    process      instances and calls inside of one process (tests/bench/peers, built when asked for)
"""
import argparse, math, os, resource, shutil, subprocess, sys, tempfile, time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, '../..'))
os.environ.setdefault('WASMC', os.path.join(ROOT, 'target/release/wasmc'))
WASMC, WT, WASMI = os.environ['WASMC'], os.environ.get('WT') or shutil.which('wasmtime'), os.environ.get('WASMI') or shutil.which('wasmi')
HELLO_C = '#include <unistd.h>\nint main(void) { return write(1, "hello\\n", 6) != 6; }\n'
HELLO_WAT = '''(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1) (data (i32.const 0) "\\08\\00\\00\\00\\06\\00\\00\\00hello\\n")
    (func (export "_start") (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))))'''


class Failed(Exception):
    pass


def run(command, cwd=None, env=None, stdin=None, code=0):
    """CPU seconds, wall seconds, page faults and peak KiB of a command that ends with `code`."""
    start = time.monotonic()
    with open(stdin, 'rb') if stdin else open(os.devnull, 'rb') as given:
        child = subprocess.Popen(command, cwd=cwd, env=env, stdin=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - start
    if os.waitstatus_to_exitcode(status) != code:
        raise Failed(f'ended with {os.waitstatus_to_exitcode(status)}: {" ".join(command)}')
    return usage.ru_utime + usage.ru_stime, wall, usage.ru_minflt + usage.ru_majflt, usage.ru_maxrss


def best(runs, ways):
    """For each way the least of each figure of `run`, in turns; a way that fails is None."""
    least = {name: None for name in ways}
    failed = set()
    for _ in range(runs):
        for name, way in ways.items():
            if name in failed:
                continue
            try:
                figures = way()
            except Failed as e:
                print(f'    {name}: {e}', file=sys.stderr)
                failed.add(name)
                least[name] = None
                continue
            least[name] = figures if least[name] is None else tuple(map(min, least[name], figures))
    return least


def mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else float('nan')


def row(what, ours, theirs, unit, goal=''):
    """A line of the table: the ratio is ours to the first of the others."""
    show = lambda v: '-' if v is None else (f'{v:.3f}' if v < 100 else f'{v:.0f}')
    first = next((v for _, v in theirs if v), None)
    ratio = f'{ours / first:.2f}' if ours is not None and first else '-'
    others = ', '.join(f'{name} {show(v)}' for name, v in theirs)
    print(f'| {what} | {show(ours)} | {others} | {unit} | {ratio} | {goal} |', flush=True)


def head(title):
    print(f'\n### {title}\n\n| what | wasmc | others | unit | ratio | goal |\n|---|---|---|---|---|---|', flush=True)


def programs(compare, corpus):
    for folder, _, files in sorted(os.walk(corpus)):
        if 'cmd.txt' in files:
            p = compare.read_program(folder, os.path.relpath(folder, corpus))
            if os.path.exists(p['wasm']):
                yield p


def program_run(p, command):
    def once():
        for f in p['clean'] + p['out']:
            path = os.path.join(p['cwd'], f)
            if os.path.exists(path):
                os.remove(path)
        env = dict(os.environ, **dict(e.split('=', 1) for e in p['env']))
        return run(command, p['cwd'], env, p.get('stdin') and os.path.join(p['cwd'], p['stdin']), int(p.get('exit', 0)))
    return once


def corpus_part(args, compare, tmp):
    head('Programs, CPU')
    ratios, natives, above = [], [], []
    for p in programs(compare, args.corpus):
        if args.only and p['name'] not in args.only.split(','):
            continue
        ways = {}
        for name, engine, suffix in (('Wasmtime', 'wt', '.cwasm'), ('wasmc', 'wasmc', '.so'), ('native', 'native', '')):
            if engine == 'wt' and not WT:
                continue
            out = f'{tmp}/{p["name"].replace("/", "_")}{suffix}'
            seconds, ok = compare.compile_program(engine, p, out)
            command = compare.ENGINES[engine][1](p, out) if ok else None
            if command:
                ways[name] = program_run(p, command)
        cpu = {name: figures and figures[0] for name, figures in best(args.runs, ways).items()}
        ours, wt, native = cpu.get('wasmc'), cpu.get('Wasmtime'), cpu.get('native')
        row(p['name'], ours, [('Wasmtime', wt), ('native', native)], 's', '1.02')
        if ours and wt and wt >= 0.1:
            ratios.append(ours / wt)
            if native:
                natives.append(native / wt)
            if ours / wt > 1.02:
                above.append(f'{p["name"]} {ours / wt:.2f}')
    print(f'\nGeometric mean of {len(ratios)} programs of at least 0.1 s: {mean(ratios):.3f} of Wasmtime (goal 0.80); native {mean(natives):.3f}.')
    print(f'Above 1.02: {", ".join(above) or "none"}.')


def sections(path):
    """Bytes of code and of the whole file."""
    text = 0
    for line in subprocess.run(['size', '-A', path], capture_output=True, text=True).stdout.splitlines():
        f = line.split()
        if len(f) == 3 and f[0].startswith('.text'):
            text += int(f[1])
    return text, os.path.getsize(path)


def large(args):
    for name in ('python', 'esbuild', 'yosys'):
        path = f'{args.corpus}/large/{name}/{name}.wasm'
        if os.path.exists(path):
            yield name, path
        else:
            print(f'skipped: {path} is not there', file=sys.stderr)


def compile_part(args, _, tmp):
    head('Compiling')
    for name, wasm in large(args):
        outs = {'wasmc': f'{tmp}/{name}.so', 'Wasmtime': f'{tmp}/{name}.cwasm'}
        ways = {'wasmc': lambda: run([WASMC, 'compile', wasm, '-o', outs['wasmc']])}
        if WT:
            ways['Wasmtime'] = lambda: run([WT, 'compile', wasm, '-o', outs['Wasmtime']])
        figures = best(max(2, args.runs // 2), ways)
        of = lambda i: {k: v and v[i] for k, v in figures.items()}
        wall, peak = of(1), of(3)
        row(f'{name}: wall time', wall['wasmc'], [('Wasmtime', wall.get('Wasmtime'))], 's', '0.80')
        row(f'{name}: peak memory', peak['wasmc'] / 1024, [('Wasmtime', peak.get('Wasmtime') and peak['Wasmtime'] / 1024)], 'MiB', '0.80')
        size = {k: sections(path) for k, path in outs.items() if os.path.exists(path)}
        for i, what in enumerate(('code', 'whole file')):
            theirs = size['Wasmtime'][i] / 2**20 if 'Wasmtime' in size else None
            row(f'{name}: {what}', size['wasmc'][i] / 2**20, [('Wasmtime', theirs)], 'MiB', '0.80')


def start_part(args, _, tmp):
    head('Start of a process')
    with open(f'{tmp}/hello.c', 'w') as f:
        f.write(HELLO_C)
    with open(f'{tmp}/hello.wat', 'w') as f:
        f.write(HELLO_WAT)
    subprocess.run([os.environ.get('CC', 'cc'), '-O2', '-static', f'{tmp}/hello.c', '-o', f'{tmp}/hello'], check=True)
    subprocess.run([WASMC, 'compile', f'{tmp}/hello.wat', '-o', f'{tmp}/hello.so'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    ways = {'wasmc': lambda: many([WASMC, 'run', f'{tmp}/hello.so']), 'native': lambda: many([f'{tmp}/hello'])}
    if WT:
        subprocess.run([WT, 'compile', f'{tmp}/hello.wat', '-o', f'{tmp}/hello.cwasm'], check=True)
        ways['Wasmtime'] = lambda: many([WT, 'run', '--allow-precompiled', f'{tmp}/hello.cwasm'])
    figures = best(args.runs, ways)
    names = [n for n in ('native', 'Wasmtime') if n in figures]
    row('hello: CPU', figures['wasmc'][0] * 1e3, [(n, figures[n] and figures[n][0] * 1e3) for n in names], 'ms', '1.5 of native')
    row('hello: page faults', figures['wasmc'][2], [(n, figures[n] and figures[n][2]) for n in names], '', '150')
    python = f'{args.corpus}/large/python/python.wasm'
    if os.path.exists(python):
        subprocess.run([WASMC, 'compile', python, '-o', f'{tmp}/p.so'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        ways = {'wasmc': lambda: run([WASMC, 'run', f'{tmp}/p.so', '-c', 'pass'])}
        if WT:
            subprocess.run([WT, 'compile', python, '-o', f'{tmp}/p.cwasm'], check=True)
            ways['Wasmtime'] = lambda: run([WT, 'run', '--allow-precompiled', f'{tmp}/p.cwasm', '-c', 'pass'])
        figures = best(args.runs, ways)
        row('CPython, -c pass: CPU', figures['wasmc'][0], [(n, figures[n] and figures[n][0]) for n in figures if n != 'wasmc'], 's', '0.60')


def many(command, times=50):
    """The same of one of many runs: a short one's CPU time is less than its resolution."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    for _ in range(times):
        if subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode:
            raise Failed(' '.join(command))
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return cpu / times, wall / times, run(command)[2], 0


def auto_part(args, _, tmp):
    head('Straight from the .wasm, without a cache')
    for name, wasm in large(args):
        if name != 'python':
            continue
        ways = {'wasmc': lambda: run([WASMC, 'run', '--no-cache', wasm, '-c', 'print("hello")'])}
        if WT:
            ways['Wasmtime'] = lambda: run([WT, 'run', '-C', 'cache=n', wasm, '-c', 'print("hello")'])
        wall = {k: v and v[1] for k, v in best(args.runs, ways).items()}
        row('CPython says hello: wall time', wall['wasmc'], [('Wasmtime', wall.get('Wasmtime'))], 's', '0.30')
    lua = f'{args.corpus}/lua/lua.wasm'
    if os.path.exists(lua):
        script = f'{tmp}/long.lua'
        with open(script, 'w') as f:
            f.write('local function fib(n) if n < 2 then return n end return fib(n - 1) + fib(n - 2) end\n'
                    'local t = {} for i = 1, 30000000 do t[i % 1000 + 1] = i * 2 end\nfor i = 1, 5 do print(fib(34)) end\n'
                    'local s = {} for i = 1, 3000000 do s[#s + 1] = ("x"):rep(i % 5) .. i end table.sort(s) print(#s, s[1], s[#s])\n')
        subprocess.run([WASMC, 'compile', lua, '-o', f'{tmp}/lua.so'], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        guest = ['--dir', f'{tmp}::/t']
        wall = best(3, {'auto': lambda: run([WASMC, 'run', '--no-cache', *guest, lua, '/t/long.lua']),
                        'ahead': lambda: run([WASMC, 'run', *guest, f'{tmp}/lua.so', '/t/long.lua'])})
        wall = {k: v and v[1] for k, v in wall.items()}
        row('Lua, a long script: wall time', wall['auto'], [('compiled ahead of time', wall['ahead'])], 's', '1.05')


def interpreter_part(args, compare, tmp):
    head('The interpreter, CPU')
    if not WASMI:
        print('\nskipped: no wasmi')
        return
    ratios = []
    for p in programs(compare, args.corpus):
        if not p['name'].startswith('kernels/') or p['name'].endswith('-simd'):
            continue
        ways = {'wasmc': program_run(p, [WASMC, 'run', '--tier', 'interpreted', p['wasm'], *p['argv']]), 'wasmi': program_run(p, [WASMI, p['wasm'], *p['argv']])}
        cpu = {k: v and v[0] for k, v in best(2, ways).items()}
        row(p['name'], cpu['wasmc'], [('wasmi', cpu['wasmi'])], 's', '1.00')
        if cpu['wasmc'] and cpu['wasmi']:
            ratios.append(cpu['wasmc'] / cpu['wasmi'])
    print(f'\nGeometric mean of {len(ratios)} kernels: {mean(ratios):.3f} of wasmi (goal 0.80).\n')
    print('| what | wasmc | others | unit | ratio | goal |\n|---|---|---|---|---|---|')
    for name, wasm in large(args):
        if name == 'yosys':
            continue
        ways = {'wasmc': lambda: run([WASMC, 'run', '--tier', 'interpreted', wasm, '--version']), 'wasmi': lambda: run([WASMI, '--compilation-mode', 'lazy', wasm, '--version'])}
        wall = {k: v and v[1] for k, v in best(args.runs, ways).items()}
        row(f'{name} --version: wall time', wall['wasmc'], [('wasmi, lazy', wall['wasmi'])], 's', '1.00')


def process_part(args, _, tmp):
    print('\n### Inside of one process\n\n```text', flush=True)
    python = f'{args.corpus}/large/python/python.wasm'
    command = ['cargo', 'run', '--release', '--quiet', '--', '--runs', str(args.runs)] + (['--cpython', python] if os.path.exists(python) else [])
    done = subprocess.run(command, cwd=f'{HERE}/peers')
    print('```', flush=True)
    if done.returncode:
        print(f'\nfailed with {done.returncode}')


PARTS = {'corpus': corpus_part, 'compile': compile_part, 'start': start_part, 'auto': auto_part, 'interpreter': interpreter_part, 'process': process_part}


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--corpus', required=True, type=os.path.abspath)
    a.add_argument('--runs', type=int, default=5)
    a.add_argument('--parts', default=','.join(PARTS))
    a.add_argument('--only', help='names of programs, for the part corpus')
    args = a.parse_args()
    unknown = [p for p in args.parts.split(',') if p not in PARTS]
    if unknown:
        a.error(f'no part {unknown[0]}: there are {", ".join(PARTS)}')
    if not os.path.exists(f'{args.corpus}/compare.py'):
        a.error(f'{args.corpus} has no compare.py')
    if WT:
        os.environ['WT'] = WT
    sys.path.insert(0, args.corpus)
    import compare
    versions = [subprocess.run([e, '--version'], capture_output=True, text=True).stdout.strip() for e in (WASMC, WT, WASMI) if e]
    with open('/proc/cpuinfo') as f:
        cpu = next((line.split(':', 1)[1].strip() for line in f if line.startswith('model name')), 'unknown')
    print(f'{"; ".join(versions)}. {os.cpu_count()} cores, {cpu}. Best of {args.runs} where not said otherwise.')
    for name, missing in (('Wasmtime', not WT), ('wasmi', not WASMI)):
        if missing:
            print(f'{name} is missing.')
    tmp = tempfile.mkdtemp(prefix='wasmc-table-')
    try:
        for part in args.parts.split(','):
            PARTS[part](args, compare, tmp)
    finally:
        shutil.rmtree(tmp)


if __name__ == '__main__':
    main()
