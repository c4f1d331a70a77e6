"""Extensions with their flags, and the sidecar as package data; all else is in pyproject.toml."""

import os
import shutil
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_py import build_py

#: GOKIQ_DEBUG=1 compiles with line tracing, for coverage and profilers.
DEBUG = os.environ.get("GOKIQ_DEBUG") == "1"
#: What `gokiq` needs of the gem's folder to start a sidecar.
SIDECAR_FILES = ("*.gemspec", "*.rb", "lib/**/*.rb", "bin/*", "exe/*", "readme.md")


def extension(name: str) -> Extension:
    built = Extension(
        f"gokiq.{name}",
        [f"gokiq/{name}.pyx"],
        # Without debugging symbols (-g0) a wheel is a third of the size.
        extra_compile_args=["-Wall", "-Wconversion", *(["-O0"] if DEBUG else ["-O3", "-g0"])],
        define_macros=[("CYTHON_TRACE_NOGIL", "1")] if DEBUG else [],
    )
    built.cython_directives = {"linetrace": DEBUG}
    return built


class BuildWithSidecar(build_py):
    """Copies sidecar/ to gokiq/_sidecar of the wheel; an editable install uses the checkout's."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for pattern in SIDECAR_FILES:
            for source in Path("sidecar").glob(pattern):
                target = Path(self.build_lib, "gokiq", "_sidecar", *source.parts[1:])
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, target)


setup(
    ext_modules=[extension("_core"), extension("_payload")],
    cmdclass={"build_py": BuildWithSidecar},
    options={"build_ext": {"cython_c_in_temp": True}},
)
