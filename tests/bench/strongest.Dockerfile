FROM slugc-bench-base:uv
WORKDIR /workspace
RUN python3 -m venv --without-pip /venv
ENV PATH=/venv/bin:$PATH VIRTUAL_ENV=/venv UV_LINK_MODE=copy
COPY requirements.txt .
RUN --mount=type=cache,target=/root/.cache/uv uv pip install --quiet --compile-bytecode -r requirements.txt
COPY . .
RUN python manage.py collectstatic --noinput
CMD ["sh", "-c", "exec gunicorn shelf.wsgi --bind 0.0.0.0:$PORT"]
