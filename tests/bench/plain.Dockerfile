FROM slugc-bench-base:plain
WORKDIR /workspace
RUN python3 -m venv /venv
ENV PATH=/venv/bin:$PATH
COPY requirements.txt .
RUN pip install --quiet --no-cache-dir --disable-pip-version-check -r requirements.txt
COPY . .
RUN python manage.py collectstatic --noinput
CMD ["sh", "-c", "exec gunicorn shelf.wsgi --bind 0.0.0.0:$PORT"]
