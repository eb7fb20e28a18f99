"""The command line: run a campaign, open the user interfaces, ask for a completeness, check a campaign's settings."""

from __future__ import annotations

import argparse
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lens_assets.environment import (
    LAKE_VARIABLE,
    MLFLOW_VARIABLE,
    PROJECT_ROOT,
    STATE_VARIABLE,
    InUseError,
    exclusive_run,
    prepare,
)

if TYPE_CHECKING:
    from lens_assets.assets.execution import Lineage
    from lens_assets.automation.driver import Outcome
    from lens_assets.lake.lake import Lake

DAGSTER_PORT = 3000
MLFLOW_PORT = 5000
EXIT_FAILED = 1
EXIT_NO_GO = 3
EXIT_INTERRUPTED = 130


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and run one command; return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        prepare(options.campaign)
        status: int = options.command(options)
    except KeyboardInterrupt:
        print("\ninterrupted; what is finished is kept: run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    except _expected_errors() as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {error}{_places(error)}", file=sys.stderr)
        return 2
    return status


def _places(error: OSError) -> str:
    """Say where things are written, if that may be what the file system refuses."""
    held = [str(Path(os.environ[name]).absolute()) for name in (LAKE_VARIABLE, STATE_VARIABLE) if os.environ.get(name)]
    if error.filename and not any(str(Path(str(error.filename)).absolute()).startswith(place) for place in held):
        return ""
    named = ", ".join(f"{name} is {os.environ.get(name, 'not set')}" for name in (LAKE_VARIABLE, STATE_VARIABLE))
    return f"; {named}: is there room, and may this user write there?"


def _expected_errors() -> tuple[type[Exception], ...]:
    from lens_assets.assets.execution import GateClosed
    from lens_assets.automation.closure import ClosureError
    from lens_assets.automation.questions import QuestionError
    from lens_assets.automation.stamp_export import ExportError
    from lens_assets.campaign.errors import CampaignError
    from lens_assets.detector.errors import DetectorError
    from lens_assets.detector.exchange import ScoreFileError
    from lens_assets.lake.lake import LakeError
    from lens_assets.lensing.source_bank import SourceBankError
    from lens_assets.selection.loader import OutsideGridError

    asked = (QuestionError, ExportError, ClosureError, OutsideGridError, GateClosed)
    given = (CampaignError, DetectorError, ScoreFileError, SourceBankError)
    return (*asked, *given, LakeError, InUseError)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lens-assets", description=__doc__)
    parser.add_argument("--campaign", help="name under deploy/campaigns/ or path of a folder (default: demo)")
    commands = parser.add_subparsers(required=True, metavar="command")
    run = commands.add_parser("run", help="materialise everything of the campaign that is not current")
    run.set_defaults(command=_run)
    ui = commands.add_parser("ui", help="open the Dagster and MLflow user interfaces on loopback")
    ui.add_argument("--port", type=int, default=DAGSTER_PORT, help=f"port of Dagster (default {DAGSTER_PORT})")
    ui.add_argument("--mlflow-port", type=int, default=MLFLOW_PORT, help=f"port of MLflow (default {MLFLOW_PORT})")
    ui.set_defaults(command=_ui)
    validate = commands.add_parser("validate", help="load and check the campaign's settings")
    validate.set_defaults(command=_validate)
    digests = commands.add_parser("digests", help="print every stored partition with its rows and digest")
    digests.set_defaults(command=_digests)
    _add_completeness(commands)
    _add_pooling(commands)
    _add_exchange(commands)
    bank = commands.add_parser("write-bank", help="write a bank of source pictures from a RealGalaxy catalog of GalSim")
    bank.add_argument("catalog", type=Path, help="FITS table of the catalog, the files that it names beside it")
    bank.add_argument("output", type=Path, help="HDF5 file of the bank, for injection source.bank")
    bank.set_defaults(command=_write_bank)
    _add_closure(commands)
    return parser


def _add_completeness(commands: Any) -> None:
    ask = commands.add_parser("completeness", help="print C of the released selection function at a point")
    ask.add_argument("--theta-e", type=float, nargs="+", required=True, help="Einstein radius [arcsec], one or more")
    ask.add_argument("--psf", type=float, required=True, help="r-band PSF FWHM [arcsec]")
    ask.add_argument("--depth", type=float, required=True, help="r-band 5-sigma point-source depth [AB mag]")
    ask.add_argument("--threshold", help="name of the threshold (default: the release's reference)")
    ask.add_argument("--detector", help="name of the detector (default: the release's primary)")
    ask.add_argument("--outside", choices=("raise", "nan", "clip"), default="raise", help="beyond the grid or support")
    ask.add_argument("--level", type=int, choices=(68, 95), default=95, help="probability of the limits [%%]")
    ask.add_argument("--interval", choices=("conditional", "total"), default="conditional", help="kind of limits")
    ask.add_argument("--cells", default="measured", help="measured, merged, or a model of the release")
    ask.add_argument("--release", help="folder of a release (default: the campaign's own product)")
    ask.set_defaults(command=_completeness)


def _add_pooling(commands: Any) -> None:
    pool = commands.add_parser("merge-releases", help="pool the injections of two releases of one quantity")
    pool.add_argument("folders", nargs=2, help="two release folders of the same grid, prior and thresholds")
    pool.add_argument("--detector", help="name of the detector (default: the first release's primary)")
    pool.add_argument("--to", type=Path, required=True, help="Parquet file for the pooled completeness table")
    pool.set_defaults(command=_merge_releases)


def _add_exchange(commands: Any) -> None:
    export = commands.add_parser("export-stamps", help="write stamps for an external finder to score")
    export.add_argument("folder", type=Path, help="new or empty folder")
    export.add_argument("--format", choices=("npz", "fits", "hdf5"), default="npz", help="format of the stamp files")
    export.add_argument("--roles", nargs="+", help="roles to export (default: all there are)")
    export.set_defaults(command=_export_stamps)
    check = commands.add_parser("check-scores", help="check scores that came back, and print how to name them")
    check.add_argument("file", type=Path, help="CSV or Parquet with stamp_id and score")
    check.add_argument("--output", choices=("probability", "logit"), default="probability", help="what a score is")
    check.add_argument("--stamps", type=Path, help="stamps.csv of the export: every stamp must have a score")
    check.set_defaults(command=_check_scores)


def _add_closure(commands: Any) -> None:
    close = commands.add_parser("closure", help="hold completeness against true lenses of a simulated sky of its own")
    close.add_argument("--lenses", type=int, help="true lenses drawn (default: closure.yaml)")
    close.add_argument("--hosts", type=int, help="other galaxies drawn, into which injections go")
    close.add_argument("--injections", type=int, help="injections")
    close.add_argument("--workers", type=int, help="processes")
    close.add_argument("--detector", nargs="+", help="frozen detectors that are asked (default: the primary one)")
    close.add_argument("--model", type=Path, help="YAML of a TorchScript or ONNX finder, as an entry of external.yaml")
    close.add_argument("--threshold", type=float, default=0.5, help="score at which --model detects (default 0.5)")
    close.add_argument("--to", type=Path, help="folder of the report (default: closure/ in the state folder)")
    close.set_defaults(command=_closure)


def _open() -> tuple[Lineage, Lake]:
    from lens_assets.campaign.campaign import load_campaign
    from lens_assets.definitions import build_lineage
    from lens_assets.resources.lake import LakeResource

    campaign = load_campaign()
    return build_lineage(campaign), LakeResource().open(campaign)


def _run(options: argparse.Namespace) -> int:
    del options
    import dagster as dg

    from lens_assets.automation.driver import GATES, materialise_campaign
    from lens_assets.automation.progress import CampaignProgress
    from lens_assets.definitions import build_defs

    started = time.monotonic()
    lineage, lake = _open()
    print(f"campaign {lineage.campaign.name}: {len(lineage.assets)} assets, lake {lake.root}")
    with exclusive_run(), dg.DagsterInstance.get() as instance, CampaignProgress(lineage) as progress:
        outcome = materialise_campaign(build_defs(), lineage, lake, instance, progress.announce)
    _print_result(lineage, lake, outcome, time.monotonic() - started)
    if outcome.complete:
        return 0
    print(f"\nstopped at {', '.join(outcome.failed)}:\n{outcome.message}", file=sys.stderr)
    return EXIT_NO_GO if set(outcome.failed) & set(GATES) else EXIT_FAILED


def _print_result(lineage: Lineage, lake: Lake, outcome: Outcome, seconds: float) -> None:
    from lens_assets.automation.headline import headline

    peak_gib = _peak_memory_gib()
    print(f"\n{len(outcome.ran)} assets run in {seconds:.0f} s, peak memory {peak_gib:.1f} GiB")
    for line in headline(lineage, lake):
        print(line)
    print("user interfaces: make ui (Dagster and MLflow on 127.0.0.1)")


def _peak_memory_gib() -> float:
    """Return the larger of this process's and its largest child's peak resident memory, in GiB."""
    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib / 1024**2


def _validate(options: argparse.Namespace) -> int:
    del options
    from lens_assets.campaign.campaign import load_campaign, require_files

    campaign = load_campaign()
    require_files(campaign)
    print(f"campaign {campaign.name} is valid: {len(campaign.stages)} stages, {len(campaign.experiments)} experiments")
    return 0


def _digests(options: argparse.Namespace) -> int:
    del options
    lineage, lake = _open()
    for name, asset in lineage.assets.items():
        for key in lineage.keys(asset):
            record = lake.record(name, key)
            label = f"{name}/{key}" if key else name
            print(f"{label}\t{record.rows if record else 'absent'}\t{record.digest if record else ''}")
    return 0


def _completeness(options: argparse.Namespace) -> int:
    from lens_assets.automation.questions import QuestionError, answer_lines, released

    lineage, lake = _open()
    names = ("psf", "depth", "threshold", "detector", "outside", "level", "interval", "cells")
    try:
        sf, warning = released(lineage, lake, options.release)
        lines = answer_lines(sf, options.theta_e, *(getattr(options, name) for name in names))
    except ValueError as error:
        raise QuestionError(str(error)) from error
    if warning:
        print(f"warning: {warning}", file=sys.stderr)
    print("\n".join(lines))
    return 0


def _merge_releases(options: argparse.Namespace) -> int:
    from lens_assets.automation.questions import QuestionError, pooled_table

    lineage, _ = _open()
    try:
        lines = pooled_table(lineage, options.folders, options.detector, options.to)
    except ValueError as error:
        raise QuestionError(str(error)) from error
    print("\n".join(lines))
    return 0


def _closure(options: argparse.Namespace) -> int:
    from lens_assets.automation import closure
    from lens_assets.campaign.campaign import load_campaign
    from lens_assets.resources.lake import LakeResource

    started, campaign = time.monotonic(), load_campaign()
    sizes = {name: getattr(options, name) for name in ("lenses", "hosts", "injections", "workers")}
    settings = closure.stated_settings(campaign, **sizes)
    folder = options.to or Path(os.environ[STATE_VARIABLE]) / "closure"
    folder.mkdir(parents=True, exist_ok=True)
    if options.model:
        finders = closure.model_finder(options.model, options.threshold, folder)
    else:
        names = options.detector or [campaign.evaluation.primary_detector]
        finders = closure.frozen_finders(campaign, LakeResource().open(campaign), names)
    with closure.Reporter() as progress:
        report = closure.close(campaign, closure.job_of(campaign, settings, finders), finders, folder, progress)
    print((folder / closure.SUMMARY).read_text(encoding="utf-8"), end="")
    print(f"{folder / closure.REPORT} and {closure.FIGURE}, in {time.monotonic() - started:.0f} s")
    audited = report.loc[report["audited"]]
    return 0 if (audited["verdict"] == "PASS").all() else EXIT_NO_GO


def _export_stamps(options: argparse.Namespace) -> int:
    from lens_assets.automation.stamp_export import ROLES, ExportError, available_roles, export_stamps

    unknown = sorted(set(options.roles or ()) - set(ROLES))
    if unknown:
        raise ExportError(f"--roles: expected some of {', '.join(ROLES)}, got {', '.join(unknown)}")
    lineage, lake = _open()
    roles = options.roles or available_roles(lineage, lake)
    index = export_stamps(lineage, lake, options.folder, options.format, roles)
    for role in roles:
        print(f"{role}: {int((index['role'] == role).sum())} stamps ({ROLES[role]})")
    left_out = [role for role in ROLES if role not in roles]
    if not options.roles and left_out:
        print(f"not there yet: {', '.join(left_out)}; run the campaign past its realism gate and export them then")
    print(f"{len(index)} stamps in {options.folder}; what to return is in {options.folder / 'README.txt'}")
    return 0


def _check_scores(options: argparse.Namespace) -> int:
    from lens_assets.automation.questions import check_score_file

    print("\n".join(check_score_file(options.file, options.output, options.stamps)))
    return 0


def _write_bank(options: argparse.Namespace) -> int:
    from lens_assets.digests import file_digest
    from lens_assets.lensing.source_bank import bank_from_real_galaxies

    bank = bank_from_real_galaxies(options.catalog, options.output)
    low, high = bank.half_light_radius_arcsec.min(), bank.half_light_radius_arcsec.max()
    digest = file_digest(options.output)
    print(f"{len(bank)} galaxies, half-light radii {low:.2f} to {high:.2f} arcsec; in injection.yaml, under source:")
    print(f"  light: bank\n  bank: {{path: {options.output.resolve()}, sha256: {digest}}}")
    return 0


def _ui(options: argparse.Namespace) -> int:
    lineage, _ = _open()
    if options.port == options.mlflow_port:
        print(f"error: --port and --mlflow-port are both {options.port}; expected two ports", file=sys.stderr)
        return 2
    for name, port in (("Dagster", options.port), ("MLflow", options.mlflow_port)):
        if _in_use(port):
            flag = "--port" if name == "Dagster" else "--mlflow-port"
            advice = f"stop what uses it or choose another: make ui UI_ARGUMENTS='{flag} {port + 1}'"
            print(f"error: port {port} for {name} is in use; {advice}", file=sys.stderr)
            return 2
    _migrate()
    workspace = str(PROJECT_ROOT / "workspace.yaml")
    python = sys.executable
    commands = [
        [python, "-m", "dagster_webserver", "-w", workspace, "-h", "127.0.0.1", "-p", str(options.port)],
        [python, "-m", "dagster._daemon", "run", "-w", workspace],
        [
            *(python, "-m", "mlflow", "server", "--backend-store-uri", os.environ[MLFLOW_VARIABLE]),
            *("--host", "127.0.0.1", "--port", str(options.mlflow_port), "--workers", "1"),
        ],
    ]
    print(f"campaign {lineage.campaign.name}; state in {os.environ[STATE_VARIABLE]}")
    print(f"Dagster  http://127.0.0.1:{options.port}\nMLflow   http://127.0.0.1:{options.mlflow_port}")
    print("Ctrl-C stops them", flush=True)
    return _supervise(commands)


def _migrate() -> None:
    """Create Dagster's and MLflow's databases once, before several processes open them at the same time."""
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        instance.get_runs(limit=1)
    upgrade = [sys.executable, "-m", "mlflow", "db", "upgrade", os.environ[MLFLOW_VARIABLE]]
    subprocess.run(upgrade, check=True, capture_output=True)


def _supervise(commands: list[list[str]]) -> int:
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a closed terminal stops the servers, as Ctrl-C does
    processes = [subprocess.Popen(command, cwd=PROJECT_ROOT) for command in commands]
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(0.5)
        status, module = next(
            (process.returncode, command[2])
            for process, command in zip(processes, commands, strict=True)
            if process.poll() is not None
        )
        print(f"error: {module} ended with status {status}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait(timeout=20)


def _in_use(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


if __name__ == "__main__":
    sys.exit(main())
