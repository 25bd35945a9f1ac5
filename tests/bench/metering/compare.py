#!/usr/bin/env python3
"""What metering costs: each program of the corpus compiled with and without --meter, run in turns.

    compare.py [--runs N] [--only NAME,NAME] [--limit RATIO] [--jobs N]

Prints user+system CPU seconds of the whole process, best of --runs, and their ratio, all of one run; in the end the geometric mean of the
ratios. $CORPUS is the folder with the programs (../shared/corpus beside the workspace), $BUILD where artifacts go (target/metering),
$WASMC the executable (target/release/wasmc). With --limit the exit status is 1 if the mean is above.
"""
import argparse, math, os, re, shlex, shutil, subprocess, sys, tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.normpath(os.path.join(HERE, '../../..'))
CORPUS = os.environ.get('CORPUS', os.path.join(ROOT, '../shared/corpus'))
BUILD = os.environ.get('BUILD', os.path.join(ROOT, 'target/metering'))
WASMC = os.path.abspath(os.environ.get('WASMC', os.path.join(ROOT, 'target/release/wasmc')))


def programs():
    """Name, folder and options of each program whose wasm is there."""
    for folder, _, files in sorted(os.walk(CORPUS)):
        if 'cmd.txt' not in files:
            continue
        keys = {}
        for line in open(os.path.join(folder, 'cmd.txt')):
            key, colon, value = line.partition(':')
            if colon:
                keys.setdefault(key.strip(), []).append(value.strip())
        wasm = os.path.normpath(os.path.join(folder, keys.get('wasm', [os.path.basename(folder) + '.wasm'])[-1]))
        if os.path.isfile(wasm):
            yield os.path.relpath(folder, CORPUS), folder, keys, wasm


def cpu(command, folder, keys):
    """CPU seconds of a run, and what it printed."""
    for name in keys.get('clean', []) + keys.get('out', []):
        if os.path.exists(os.path.join(folder, name)):
            os.remove(os.path.join(folder, name))
    stdin = open(os.path.join(folder, keys['stdin'][-1])) if 'stdin' in keys else subprocess.DEVNULL
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        child = subprocess.Popen(command, cwd=folder, stdin=stdin, stdout=out, stderr=err)
        _, status, usage = os.wait4(child.pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if code != int(keys.get('exit', ['0'])[-1]):
            err.seek(0)
            sys.exit(f'{shlex.join(command)} ended with {code}: {err.read().decode()}')
        out.seek(0)
        return usage.ru_utime + usage.ru_stime, out.read()


def main():
    a = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    a.add_argument('--runs', type=int, default=5); a.add_argument('--only'); a.add_argument('--limit', type=float)
    a.add_argument('--jobs', default='2')
    args = a.parse_args()
    os.makedirs(BUILD, exist_ok=True)
    print(f"{'program':24}{'plain':>9}{'metered':>9}{'ratio':>7}")
    ratios = []
    for name, folder, keys, wasm in programs():
        if args.only and name not in args.only.split(','):
            continue
        here = os.path.join(BUILD, 'run', name)
        shutil.rmtree(here, ignore_errors=True)
        shutil.copytree(folder, here, ignore=shutil.ignore_patterns('*.wasm', '*.native'))
        subprocess.run(['chmod', '-R', 'u+w', here], check=True)
        commands = []
        for flags in [], ['--meter']:
            so = os.path.join(BUILD, re.sub(r'\W', '-', name) + ('-metered' if flags else '') + '.so')
            subprocess.run([WASMC, 'compile', '--quiet', '--jobs', args.jobs, *flags, wasm, '-o', so], check=True)
            options = [o for d in keys.get('dir', []) for o in ('--dir', d)] + [o for e in keys.get('env', []) for o in ('--env', e)]
            commands.append([WASMC, 'run', *options, so, *shlex.split(keys.get('args', [''])[-1])])
        best, texts = [math.inf, math.inf], [None, None]
        for _ in range(args.runs):
            for i, command in enumerate(commands):
                seconds, texts[i] = cpu(command, here, keys)
                best[i] = min(best[i], seconds)
        if texts[0] != texts[1] and 'filter' not in keys:
            sys.exit(f'{name}: metered code prints something else')
        ratio = best[1] / best[0]
        print(f'{name:24}{best[0]:9.3f}{best[1]:9.3f}{ratio:7.2f}', flush=True)
        ratios.append(ratio)
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f'geometric mean of {len(ratios)} ratios: {mean:.3f}')
    if args.limit and mean > args.limit:
        sys.exit(f'metering costs more than {args.limit} times')


main()
