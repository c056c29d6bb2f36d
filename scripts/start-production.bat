@echo off
rem Starts larder serve in production on Windows: scripts\start-production.bat [FLAGS of larder serve]
rem Never run by us: there was no Windows at hand. Settings come from the environment, from .env, from larder.toml or from files
rem (JWT_SECRET_FILE=...), and are left as they are; sizes that nobody set are the program's defaults. Without JWT_SECRET the program does not start.
setlocal
cd /d "%~dp0\.."

if not defined LARDER if exist target\dist\larder.exe set LARDER=target\dist\larder.exe
if not defined LARDER if exist target\release\larder.exe set LARDER=target\release\larder.exe
if not defined LARDER (
    echo start-production: the program is missing: cargo build --profile dist --bin larder 1>&2
    exit /b 2
)

rem The line of a setting ends with its source; a default is nobody's choice.
"%LARDER%" config %* 2>nul | findstr /r /c:"^DATABASE_URL .*  default" >nul && (
    echo start-production: DATABASE_URL is missing: postgres://user:password@host/database, or sqlite://larder.db for a single server 1>&2
    exit /b 2
)

set ENV=production
"%LARDER%" serve %*
exit /b %ERRORLEVEL%
